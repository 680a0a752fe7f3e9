"""What is said of a file that can run code when it is loaded, and was not opened for that reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.backends.api import LoadFailure, ModelLoadError
from pillion.backends.detect import FileKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["conversion_command", "unsafe_refusal"]

_PROGRAM: Final = "export it to ONNX where you trust it: torch.onnx.export(model, args, 'model.onnx')"
_WEIGHTS: Final = (
    "save its weights without code where you trust it: safetensors.torch.save_file(model.state_dict(), "
    "'model.safetensors')"
)
_FOLDER: Final = "save it as safetensors where you trust it: model.save_pretrained(FOLDER)"
_WHAT: Final[Mapping[FileKind, tuple[str, str]]] = {
    FileKind.TORCH_EXPORT: ("a program of torch.export, which PyTorch reads with pickle", _PROGRAM),
    FileKind.TORCHSCRIPT: ("a TorchScript program", _PROGRAM),
    FileKind.TORCH_PICKLE: ("a pickle of torch.save", _WEIGHTS),
    FileKind.HUB_PICKLE: ("a pickle of torch.save", _FOLDER),
    FileKind.EMBEDDER_PICKLE: ("a pickle of torch.save", _FOLDER),
}


def unsafe_refusal(file: Path, kind: FileKind, *, denied: bool = False) -> ModelLoadError:
    """The answer to a file of an unsafe kind that may not be loaded.

    Args:
        file: as it was found.
        kind: what it holds.
        denied: whether the policy forbids it, so that its owner's consent would change nothing.
    """
    what, convert = _WHAT.get(kind, ("a pickle", f"convert it where you trust it: {conversion_command(file.name)}"))
    if denied:
        return ModelLoadError(
            f"{file.name} is {what}: loading it can run any code, and the pickle policy 'deny' forbids it",
            convert,
            LoadFailure.UNSAFE_FORMAT,
        )
    return ModelLoadError(
        f"{file.name} is {what}: loading it can run any code, so it was not opened",
        f"{convert}; or accept the risk: --allow-pickle or allowPickle: true",
        LoadFailure.UNSAFE_FORMAT,
    )


def conversion_command(name: str) -> str:
    """The command that turns a pickle of that name into a format that cannot run code, ready to be pasted."""
    import shlex  # noqa: PLC0415 - only refusals need it

    stem = name.rpartition(".")[0] or name
    return f"pillion convert-model {shlex.quote(name)} -o {shlex.quote(stem + '.skops')} --allow-pickle"
