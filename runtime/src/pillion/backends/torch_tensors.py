"""Tensors to and from PyTorch, the device that a model computes on, and the threads it may use."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.utils import _pytree

from pillion.backends.devices import refused
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.backends.api import LoadOptions

__all__ = [
    "LOADING",
    "NUMERIC",
    "OperatorThreads",
    "datatype_of",
    "device_for",
    "from_torch",
    "named_leaves",
    "to_torch",
]

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

with warnings.catch_warnings():
    # PyTorch warns once a process of memory that is read-only, as a request's is. Only models that change no input are
    # given that.
    warnings.simplefilter("ignore")
    torch.from_numpy(np.frombuffer(b"\0", np.uint8))


def datatype_of(dtype: torch.dtype) -> Datatype | None:
    """The protocol's datatype; None for complex and quantised numbers, which it cannot carry."""
    return _DATATYPES.get(dtype)


def to_torch(tensor: Tensor, device: torch.device, *, shared: bool = False) -> torch.Tensor:
    """The tensor on that device. The memory is the model's own, so it may compute in place.

    Args:
        tensor: of a request.
        device: where it is to be.
        shared: whether the memory may be the request's own, for a model that is known to change no input.
    """
    # A request's buffer is read-only, and PyTorch has no read-only tensors. What goes to a device is copied there.
    copied = not shared and device.type == "cpu"
    data = torch.from_numpy(np.array(tensor.data, order="C", copy=copied or None))
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
    value = value.detach()
    if value.device.type != "cpu" or not value.is_contiguous():
        value = value.cpu().contiguous()
    data = value.view(torch.uint16) if datatype is Datatype.BF16 else value
    return Tensor(name, datatype, data.numpy())


def named_leaves(result: object) -> list[tuple[str, Any]]:
    """The parts of a nested result with a name for each: ``output``, a key, or ``output_0`` for a place in a tuple."""
    if isinstance(result, torch.Tensor):
        return [("output", result)]
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
    asked = options.asked_device()
    if asked is None or asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise refused(asked, reason) from error
    return device


class OperatorThreads:
    """The threads that a model may use inside an operator.

    PyTorch keeps that number for each thread that calls it, and what is set last for threads that come later: so that
    models with other numbers do not change it, it is set before each call, which takes a quarter of a microsecond. With
    its first operator a thread takes over what was set last by any, so it is made to do that before (ATen's
    ``lazy_init_num_threads``).
    """

    def __init__(self, options: LoadOptions) -> None:
        """Set it for what follows in this thread, which loads the model.

        Raises:
            ModelLoadError: ``intraOpThreads`` is no number of threads.
        """
        self._count = options.intra_op_threads()
        self.use()

    def use(self) -> None:
        """For what this thread computes next."""
        torch.get_num_threads()
        torch.set_num_threads(self._count)
