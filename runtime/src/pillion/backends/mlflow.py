"""Folders that MLflow wrote, served by the backend of the library inside: MLflow itself is never imported.

The file ``MLmodel`` says which flavours a model has. A native one (ONNX, scikit-learn, XGBoost, LightGBM, PyTorch,
transformers) names its file or folder, and that is loaded as if it had been given by itself, under the same rules: a
pickle is a pickle. The flavour ``python_function`` alone would mean to run code that came with the model.

Source: MLflow, "MLflow Models", storage format and signature.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FORMAT", "Packaged", "package_in", "read"]

FORMAT: Final = "mlflow"
"""What people write as a model format."""
_MARKER: Final = "MLmodel"
_MOST_BYTES: Final = 8 * 1024 * 1024
_FLAVOURS: Final[Mapping[str, tuple[str, str, str]]] = {
    "onnx": ("data", "", ""),
    "sklearn": ("pickled_model", "scikit-learn", "sklearn_version"),
    "xgboost": ("data", "xgboost", "xgb_version"),
    "lightgbm": ("data", "lightgbm", "lgb_version"),
    "transformers": ("model_binary", "transformers", "transformers_version"),
    "pytorch": ("model_data", "torch", "pytorch_version"),
}
"""Flavours that are served, those that cannot run code first: the key of the file, the library, the key of its
version."""
_PROGRAMS: Final = ("model.pt2", "model.pth")
"""What MLflow calls the files of PyTorch; the first is preferred."""


class Packaged(msgspec.Struct, frozen=True):
    """What MLmodel says of the model beside it."""

    path: Path
    """The library's own file."""
    flavour: str
    columns: tuple[str, ...] = ()
    """Names of the input's columns in the order of the signature; none where it has no signature of columns."""
    saved: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Versions of the libraries that wrote it."""
    tokenizer: Path | None = None
    """The tokenizer's folder, where that is not the model's."""


def package_in(folder: Path) -> Path | None:
    """The folder with MLmodel: the given one, or the only one directly below it (a run's ``artifacts``)."""
    if (folder / _MARKER).is_file():
        return folder
    below = [marker.parent for marker in folder.glob(f"*/{_MARKER}") if marker.is_file()] if folder.is_dir() else []
    return below[0] if len(below) == 1 else None


def read(folder: Path) -> Packaged:
    """What MLmodel says.

    Raises:
        ModelLoadError: it cannot be read, or has no flavour that is served.
    """
    document = _parsed(folder / _MARKER)
    flavours = document.get("flavors")
    if not isinstance(flavours, dict) or not flavours:
        raise ModelLoadError(f"{_MARKER} names no flavors", "log the model again with mlflow.<library>.log_model")
    for name, (file_key, library, version_key) in _FLAVOURS.items():
        flavour = flavours.get(name)
        if not isinstance(flavour, dict):
            continue
        version = flavour.get(version_key)
        saved = {library: version} if library and isinstance(version, str) else {}
        path = _inside(folder, flavour.get(file_key), f"flavors.{name}.{file_key}")
        if name == "transformers":
            return Packaged(_whole(path), name, (), saved, _tokenizer(folder, path))
        if name == "pytorch":
            return Packaged(_program(path), name, (), saved)
        if not path.is_file():
            raise _absent(f"flavors.{name}.{file_key}", path.name)
        return Packaged(path, name, _columns(document), saved)
    raise _not_served(flavours)


def _parsed(marker: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - only where a folder of MLflow's is served

    try:
        if marker.stat().st_size > _MOST_BYTES:
            raise ModelLoadError(f"{_MARKER} is larger than {_MOST_BYTES >> 20} MiB", "log the model again")
        document = yaml.safe_load(marker.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ModelLoadError(f"{_MARKER} cannot be read: {error}", "upload the model again") from error
    if not isinstance(document, dict):
        raise ModelLoadError(f"{_MARKER} is not a description of a model", "upload the model again")
    return document


def _inside(folder: Path, name: object, place: str) -> Path:
    """The file or folder of that name, which must lie in the folder."""
    if not isinstance(name, str) or not name:
        raise ModelLoadError(f"{_MARKER}: {place} names no file", "log the model again")
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise ModelLoadError(f"{_MARKER}: {place} leads out of the folder: {name}", "log the model again")
    path = folder / relative
    if not path.exists():
        raise _absent(place, name)
    return path


def _absent(place: str, name: str) -> ModelLoadError:
    return ModelLoadError(f"{_MARKER}: {place} names {name}, which is not there", "upload the whole folder")


def _program(data: Path) -> Path:
    """What PyTorch wrote: an exported program, else TorchScript or a pickled module."""
    for name in _PROGRAMS:
        if (data / name).is_file():
            return data / name
    raise ModelLoadError(
        f"{_MARKER}: flavors.pytorch.model_data has none of {', '.join(_PROGRAMS)}",
        "log it again with mlflow.pytorch.log_model(..., serialization_format='pt2')",
    )


def _whole(model: Path) -> Path:
    """The folder that ``save_pretrained`` wrote."""
    if not (model / "config.json").is_file():
        raise ModelLoadError(
            f"{_MARKER}: flavors.transformers.model_binary is no folder with a config.json",
            "log the pipeline again by mlflow.transformers.log_model, with its weights",
        )
    return model


def _tokenizer(folder: Path, model: Path) -> Path | None:
    """Where MLflow keeps the tokenizer: beside the model, in a folder of its own."""
    apart = folder / "components" / "tokenizer"
    return apart if apart.is_dir() and not (model / "tokenizer_config.json").is_file() else None


def _columns(document: dict[str, Any]) -> tuple[str, ...]:
    """The names in the signature's inputs: a JSON text inside the YAML; tensors have a type of their own."""
    signature = document.get("signature")
    inputs = signature.get("inputs") if isinstance(signature, dict) else None
    try:
        columns = json.loads(inputs) if isinstance(inputs, str) else inputs
    except ValueError:
        return ()
    if not isinstance(columns, list):
        return ()
    names = [column.get("name") for column in columns if isinstance(column, dict) and column.get("type") != "tensor"]
    named = [name for name in names if isinstance(name, str)]
    return tuple(named) if len(named) == len(columns) else ()


def _not_served(flavours: Mapping[str, object]) -> ModelLoadError:
    others = ", ".join(sorted(name for name in flavours if name != "python_function"))
    served = ", ".join(sorted(_FLAVOURS))
    if others:
        return ModelLoadError(
            f"the MLflow model has the flavours {others}, which are not served",
            f"log it with one of: {served}; or serve it from an image of your own",
        )
    return ModelLoadError(
        "the MLflow model has only the flavour python_function, which runs code of its own",
        f"log the model inside with one of: {served}; or serve it from an image of your own",
    )
