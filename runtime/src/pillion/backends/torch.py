"""PyTorch: programs of ``torch.export``, TorchScript and pickled modules, where policy and owner allow them.

Weights alone (safetensors, a state dict) belong to a class, which is code: they are served together with it, by
:mod:`pillion.backends.torch_module`.
"""

from __future__ import annotations

import json
import logging
import pickle
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, Final

import torch

from pillion.backends.api import LoadedModel, LoadOptions, ModelLoadError
from pillion.backends.detect import FileKind, kind_of
from pillion.backends.torch_export import ExportedModel
from pillion.backends.torch_module import ModuleModel
from pillion.backends.torch_tensors import LOADING, OperatorThreads, device_for
from pillion.backends.unsafe import unsafe_refusal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BACKEND"]

_log = logging.getLogger(__name__)
_WITH_CLASS: Final = "serve them together with their class: pillion serve net.py:Net --artifact {name}"


class TorchBackend:
    """Loads ``.pt2``, ``.pt`` and ``.pth``, with ``allow_pickle``."""

    def load(self, path: Path, options: LoadOptions) -> LoadedModel:
        """Load one file onto the device that was asked for."""
        kind = kind_of(path)
        if kind is FileKind.SAFETENSORS:
            raise ModelLoadError(
                f"{path.name} holds weights and not the class that they belong to",
                _WITH_CLASS.format(name=path.name),
            )
        if not options.allow_pickle:
            raise unsafe_refusal(path, kind)
        device = device_for(options)
        threads = OperatorThreads(options)
        with LOADING:
            if kind is FileKind.TORCH_EXPORT:
                return ExportedModel(_program(path), device, threads, _saved_by(path))
            if kind is FileKind.TORCHSCRIPT:
                return ModuleModel(_script(path, device), "pytorch_torchscript", device, threads)
            return ModuleModel(_module(path, device), "pytorch_module", device, threads)


def _program(path: Path) -> torch.export.ExportedProgram:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of older archives, which are read all the same
            return torch.export.load(path)
    except Exception as error:
        raise ModelLoadError(
            f"{path.name} could not be read by PyTorch {torch.__version__}: "
            f"{type(error).__name__}: {_last_line(error)}",
            "export it again with this version of PyTorch, or upload it again if it may be cut short",
        ) from error


def _saved_by(path: Path) -> str:
    """The version of PyTorch that wrote a program; empty where it does not say."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith("models/model.json")), None)
            document = {} if name is None else json.loads(archive.read(name))
    except (zipfile.BadZipFile, OSError, ValueError):
        return ""
    version = document.get("torch_version") if isinstance(document, dict) else None
    return version.partition("+")[0] if isinstance(version, str) else ""


def _script(path: Path, device: torch.device) -> torch.nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch deprecates TorchScript, and reads it
            loaded: torch.nn.Module = torch.jit.load(str(path), map_location=device)
    except RuntimeError as error:
        raise ModelLoadError(
            f"{path.name} could not be read as TorchScript: {_last_line(error)}", "upload it again"
        ) from error
    return loaded


def _module(path: Path, device: torch.device) -> torch.nn.Module:
    """A whole module that was pickled: its class has to be importable here."""
    try:
        loaded: Any = torch.load(path, map_location=device, weights_only=False)
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            f"{path.name} needs the Python module {error.name!r}, which is not installed",
            "install it in the image, or save the state dict and serve it with its class",
        ) from error
    except AttributeError as error:
        raise ModelLoadError(
            f"{path.name} needs a class that is not there: {_last_line(error)}",
            "save the state dict, and serve it with its class: pillion serve net.py:Net --artifact FILE",
        ) from error
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ModelLoadError(f"{path.name} is damaged: {_last_line(error)}", "upload it again") from error
    if isinstance(loaded, torch.nn.Module):
        return loaded
    if isinstance(loaded, dict):
        raise ModelLoadError(
            f"{path.name} holds weights and not the class that they belong to", _WITH_CLASS.format(name=path.name)
        )
    raise ModelLoadError(
        f"{path.name} holds a {type(loaded).__name__}, which is no module of PyTorch",
        "save the module or its state dict",
    )


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


BACKEND: Final = TorchBackend()
