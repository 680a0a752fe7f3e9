"""Where a model computes: what its owner asked for, against what is there. Decisions only; backends look and act."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["CUDA_PROVIDER", "cuda_index", "nvidia_devices", "onnx_providers", "refused"]

CUDA_PROVIDER: Final = "CUDAExecutionProvider"
_CPU_PROVIDER: Final = "CPUExecutionProvider"
_AUTO: Final = frozenset({None, "auto"})


def refused(asked: str, reason: str, others: str = "cpu, cuda, cuda:0 or auto") -> ModelLoadError:
    """The refusal of a device that is not there."""
    return ModelLoadError(f"device {asked!r} cannot be used here: {reason}", f"name another device: {others}")


def cuda_index(asked: str) -> int | None:
    """The number of a CUDA device, 0 for ``cuda`` alone; None for the processor.

    Raises:
        ModelLoadError: it is neither.
    """
    if asked == "cpu":
        return None
    kind, colon, number = asked.partition(":")
    if kind != "cuda" or (colon and not (number.isdecimal() and number.isascii())):
        raise refused(asked, "this library computes on the processor and by CUDA")
    return int(number or 0)


def onnx_providers(asked: str | None, available: Collection[str], devices: int) -> list[Any]:
    """What ONNX Runtime is to compute by, in the order of preference.

    Args:
        asked: by the owner; None or ``auto`` for CUDA where there is a device.
        available: the providers that this build of ONNX Runtime has.
        devices: how many NVIDIA devices this process sees.

    Raises:
        ModelLoadError: CUDA is asked for, and this build has no such provider.
    """
    if asked in _AUTO:
        index = 0 if devices and CUDA_PROVIDER in available else None
    else:
        index = cuda_index(str(asked))
        if index is not None and CUDA_PROVIDER not in available:
            raise refused(
                str(asked),
                "this build of ONNX Runtime has no CUDA provider",
                "cpu or auto, or put onnxruntime-gpu in the place of onnxruntime",
            )
    return [_CPU_PROVIDER] if index is None else [(CUDA_PROVIDER, {"device_id": index}), _CPU_PROVIDER]


def nvidia_devices(folder: Path = Path("/dev")) -> int:
    """How many NVIDIA devices this process sees, by their nodes: no library is loaded for that."""
    return sum(1 for node in folder.glob("nvidia[0-9]*") if node.name.removeprefix("nvidia").isdecimal())
