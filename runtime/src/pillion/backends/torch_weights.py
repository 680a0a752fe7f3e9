"""A class of the user's that is a ``torch.nn.Module``, with its weights from a file.

The class is code: it comes from the module that was named, never from the artifact. Weights are safetensors, or a state
dict of ``torch.save`` where pickles are allowed; names and shapes must be those of the class.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.model import Model
from pillion.backends.api import ModelLoadError
from pillion.backends.detect import FileKind, detect
from pillion.backends.unsafe import unsafe_refusal
from pillion.wording import listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

    from pillion.backends.api import LoadOptions
    from pillion.backends.python import Found
    from pillion.backends.torch_module import ModuleModel
    from pillion.runtimefile import DesiredModel

__all__ = ["is_module", "load"]

_LISTED: Final = 5
_NESTED: Final = ("state_dict", "model_state_dict")
"""Where checkpoints of training keep the weights."""


def is_module(cls: object) -> bool:
    """Whether it is a class of PyTorch's modules, and no :class:`pillion.Model`. PyTorch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(cls, type) or issubclass(cls, Model):
        return False
    return issubclass(cls, torch.nn.Module)


def load(found: Found, desired: DesiredModel, options: LoadOptions, *, denied: bool) -> ModuleModel:
    """Make an instance without arguments, and give it the weights.

    Args:
        found: the class.
        desired: names the file of weights; none for a module that needs none.
        options: ``device`` and threads.
        denied: whether the policy forbids pickles whatever the owner says.

    Raises:
        ModelLoadError: the class cannot be made, or the weights are not its own.
    """
    from pillion.backends.torch_module import ModuleModel  # noqa: PLC0415 - imports torch
    from pillion.backends.torch_tensors import LOADING, OperatorThreads, device_for  # noqa: PLC0415 - as above

    with found.telling():
        _check_constructor(found.cls)
        device = device_for(options)
        threads = OperatorThreads(options)
        weights = _weights(Path(desired.path), options, denied=denied) if desired.path else None
        with LOADING:
            module: torch.nn.Module = found.cls()
            if weights is not None:
                _give(module, weights, Path(desired.path).name)
            return ModuleModel(module, "pytorch_module", device, threads, found.files)


def _check_constructor(cls: type[Any]) -> None:
    needed = [
        parameter.name
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    ]
    if needed:
        raise ModelLoadError(
            f"{cls.__name__} cannot be made without arguments: {', '.join(needed)}",
            f"give them defaults, or name a subclass that passes them: class Served({cls.__name__})",
        )


def _weights(path: Path, options: LoadOptions, *, denied: bool) -> Mapping[str, torch.Tensor]:
    import torch  # noqa: PLC0415 - the module is imported for classes of all kinds
    from safetensors import SafetensorError  # noqa: PLC0415 - as above
    from safetensors.torch import load_file  # noqa: PLC0415 - as above

    artifact = detect(path, "torch")
    file = artifact.path
    if artifact.kind is FileKind.SAFETENSORS:
        try:
            loaded: dict[str, torch.Tensor] = load_file(file)
        except SafetensorError as error:
            raise ModelLoadError(f"{file.name} is no safetensors file: {error}", "upload it again") from error
        return loaded
    if artifact.kind is not FileKind.TORCH_PICKLE:
        raise ModelLoadError(
            f"{file.name} is a program with its own code ({artifact.kind.value}), and a class was named, too",
            "serve the file without the class, or give the class safetensors",
        )
    if not options.allow_pickle:
        raise unsafe_refusal(file, artifact.kind, denied=denied)
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelLoadError(
            f"{file.name} holds more than weights, or is damaged: {str(error).strip().splitlines()[0]}",
            "save the weights alone: safetensors.torch.save_file(model.state_dict(), 'model.safetensors')",
        ) from error
    for key in _NESTED:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelLoadError(f"{file.name} holds no state dict", "save model.state_dict()")
    return state


def _give(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], file: str) -> None:
    """Copy the weights into the module, in the module's own dtypes."""
    own = module.state_dict()
    shared = {tensor.data_ptr() for name, tensor in own.items() if name in weights and tensor.numel()}
    # Of tensors that are tied, safetensors keeps one.
    missing = [name for name in own.keys() - weights.keys() if own[name].data_ptr() not in shared]
    unknown = weights.keys() - own.keys()
    shapes = [
        f"{name} is {list(weights[name].shape)} there and {list(own[name].shape)} in the class"
        for name in sorted(own.keys() & weights.keys())
        if weights[name].shape != own[name].shape
    ]
    wrong = [
        *([f"it lacks {_some(missing)}"] if missing else []),
        *([f"the class has no {_some(unknown)}"] if unknown else []),
        *([_some(shapes, separator="; ")] if shapes else []),
    ]
    if wrong:
        raise ModelLoadError(
            f"the weights in {file} are not those of {type(module).__name__}: {'; '.join(wrong)}",
            "name the class, in the version, that they were saved from",
        )
    module.load_state_dict(dict(weights), strict=False)


def _some(names: Iterable[str], separator: str = ", ") -> str:
    return listing(sorted(names), _LISTED, separator)
