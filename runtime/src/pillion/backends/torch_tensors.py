"""Tensors to and from PyTorch, the device that a model computes on, and the threads it may use."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.utils import _pytree

from pillion.backends.api import LoadOptions, ModelLoadError
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LOADING", "NUMERIC", "datatype_of", "device_for", "from_torch", "limit_threads", "named_leaves", "to_torch"]

_DATATYPES: Final[Mapping[torch.dtype, Datatype]] = {
    torch.bool: Datatype.BOOL,
    torch.uint8: Datatype.UINT8,
    torch.uint16: Datatype.UINT16,
    torch.uint32: Datatype.UINT32,
    torch.uint64: Datatype.UINT64,
    torch.int8: Datatype.INT8,
    torch.int16: Datatype.INT16,
    torch.int32: Datatype.INT32,
    torch.int64: Datatype.INT64,
    torch.float16: Datatype.FP16,
    torch.float32: Datatype.FP32,
    torch.float64: Datatype.FP64,
    torch.bfloat16: Datatype.BF16,
}
LOADING: Final = threading.Lock()
"""One load at a time: while transformers makes a model, it changes defaults of the whole process."""
NUMERIC: Final = frozenset(_DATATYPES.values())
"""What a tensor of PyTorch can hold: all but text."""


def datatype_of(dtype: torch.dtype) -> Datatype | None:
    """The protocol's datatype; None for complex and quantised numbers, which it cannot carry."""
    return _DATATYPES.get(dtype)


def to_torch(tensor: Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on that device. The memory is the model's own: it may compute in place."""
    # A request's buffer is read-only, and PyTorch has no read-only tensors.
    data = torch.from_numpy(np.array(tensor.data, order="C", copy=True))
    if tensor.datatype is Datatype.BF16:
        data = data.view(torch.bfloat16)
    return data.to(device)


def from_torch(name: str, value: torch.Tensor) -> Tensor:
    """A result as a tensor in the machine's memory.

    Raises:
        TypeError: its dtype has no counterpart in the protocol.
    """
    datatype = datatype_of(value.dtype)
    if datatype is None:
        raise TypeError(f"output {name!r} is of {value.dtype}, which the protocol cannot carry")
    value = value.detach().cpu().contiguous()
    data = value.view(torch.uint16) if datatype is Datatype.BF16 else value
    return Tensor(name, datatype, data.numpy())


def named_leaves(result: object) -> list[tuple[str, Any]]:
    """The parts of a nested result with a name for each: ``output``, a key, or ``output_0`` for a place in a tuple."""
    leaves, _ = _pytree.tree_flatten_with_path(result)
    return [(_name(path), leaf) for path, leaf in leaves]


def _name(path: tuple[Any, ...]) -> str:
    parts = []
    for position, key in enumerate(path):
        if isinstance(key, _pytree.SequenceKey):
            parts.append(f"output_{key.idx}" if position == 0 else str(key.idx))
        elif isinstance(key, _pytree.MappingKey):
            parts.append(str(key.key))
        else:
            parts.append(str(getattr(key, "name", key)))
    return "_".join(parts) or "output"


def device_for(options: LoadOptions) -> torch.device:
    """The device that the owner named; else CUDA where there is one, else the processor.

    Raises:
        ModelLoadError: there is no such device here.
    """
    asked = options.parameters.get("device")
    if asked is None or asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(str(asked))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelLoadError(
            f"device {str(asked)!r} cannot be used here: {reason}", "name another device: cpu, cuda, cuda:0 or auto"
        ) from error
    return device


def limit_threads(options: LoadOptions) -> None:
    """Bound the threads inside an operator. PyTorch has one number for the process: the latest model's counts.

    Raises:
        ModelLoadError: ``intraOpThreads`` is no number of threads.
    """
    torch.set_num_threads(options.intra_op_threads())
