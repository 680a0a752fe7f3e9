"""Which file to load and by which backend, found from names and first bytes, without loading anything.

Accepted layouts: one file; a folder that MLflow wrote; a folder with one model file (KServe: ``model.joblib``,
``model.pkl``, ``model.skops``, ``model.onnx``, ``model.bst``); a folder with one numbered folder per version (Triton:
``1/model.onnx``), of which the highest counts.
Content wins over the name: a pickle is treated as a pickle whatever it is called. Names that many things have
(``.json``, ``.txt``) count as models by their content only.
"""

from __future__ import annotations

import shlex
import zipfile
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.backends import mlflow
from pillion.backends.api import LoadFailure, ModelLoadError, canonical_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pillion.backends.mlflow import Packaged

__all__ = ["Artifact", "FileKind", "conversion_command", "detect", "kind_of", "pickle_refusal"]


@unique
class FileKind(StrEnum):
    """What a model file holds."""

    SKOPS = "skops"
    PICKLE = "pickle"
    """Pickle and joblib: reading it can run any code."""
    ONNX = "onnx"
    XGBOOST = "xgboost"
    """XGBoost's JSON or UBJSON."""
    LIGHTGBM = "lightgbm"
    """LightGBM's text."""


_BACKEND: Final[Mapping[FileKind, str]] = {
    FileKind.SKOPS: "sklearn",
    FileKind.PICKLE: "sklearn",
    FileKind.ONNX: "onnx",
    FileKind.XGBOOST: "xgboost",
    FileKind.LIGHTGBM: "lightgbm",
}
_BY_SUFFIX: Final[Mapping[str, FileKind]] = {
    ".skops": FileKind.SKOPS,
    ".joblib": FileKind.PICKLE,
    ".pkl": FileKind.PICKLE,
    ".pickle": FileKind.PICKLE,
    ".onnx": FileKind.ONNX,
}
_BY_CONTENT: Final[Mapping[str, str]] = {
    ".json": "an XGBoost model: write it with model.save_model('model.json')",
    ".ubj": "an XGBoost model: write it with model.save_model('model.ubj')",
    ".txt": "a LightGBM model: write it with booster.save_model('model.txt')",
    ".bst": "a model of XGBoost or LightGBM: write it with save_model('model.json') or save_model('model.txt')",
}
"""Names that say nothing without the content, and what such a file should be."""
_HEAD: Final = 512
_NAMES: Final = ", ".join(f"model{suffix}" for suffix in (*_BY_SUFFIX, *_BY_CONTENT))
_LISTED: Final = 8


class Artifact(msgspec.Struct, frozen=True):
    """The file to load, what it holds, and the backend that loads it."""

    path: Path
    kind: FileKind
    backend: str
    packaged: Packaged | None = None
    """What MLflow says of it, where it wrote the folder."""


def kind_of(file: Path) -> FileKind:
    """What the file holds.

    Raises:
        ModelLoadError: empty, unreadable, or of no known format.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise ModelLoadError(f"{file.name} cannot be read: {error.strerror}", "check its permissions") from error
    if not head:
        raise ModelLoadError(f"{file.name} is empty", "upload the model again")
    if head[0] == 0x80 and len(head) > 1 and head[1] <= 5:  # opcode PROTO and its number, protocols 2 to 5
        return FileKind.PICKLE
    trees = _trees(head)
    if trees is not None:
        return trees
    named = _BY_SUFFIX.get(file.suffix.lower())
    if head.startswith(b"PK\x03\x04") and _is_skops(file):
        return FileKind.SKOPS
    if named is FileKind.SKOPS:
        raise ModelLoadError(
            f"{file.name} is not a skops file", "write it with skops.io.dump(model, 'model.skops'), or upload it again"
        )
    expected = _BY_CONTENT.get(file.suffix.lower())
    if expected is not None:
        what, _, remedy = expected.partition(": ")
        raise ModelLoadError(f"{file.name} is not {what}", remedy)
    if named is None:
        raise ModelLoadError(f"the format of {file.name} is not known", f"name it one of: {_NAMES}")
    return named


def pickle_refusal(file: Path, *, denied: bool = False) -> ModelLoadError:
    """The answer to a pickle that may not be loaded.

    Args:
        file: the pickle.
        denied: whether the policy forbids it, so that its owner's consent would change nothing.
    """
    convert = f"convert it where you trust it: {conversion_command(file.name)}"
    if denied:
        return ModelLoadError(
            f"{file.name} is a pickle: loading it can run any code, and the pickle policy 'deny' forbids it",
            convert,
            LoadFailure.UNSAFE_FORMAT,
        )
    return ModelLoadError(
        f"{file.name} is a pickle: loading it can run any code, so it was not opened",
        f"{convert}; or accept the risk: --allow-pickle or allowPickle: true",
        LoadFailure.UNSAFE_FORMAT,
    )


def conversion_command(name: str) -> str:
    """The command that turns a pickle of that name into a format that cannot run code, ready to be pasted."""
    stem = name.rpartition(".")[0] or name
    return f"pillion convert-model {shlex.quote(name)} -o {shlex.quote(stem + '.skops')} --allow-pickle"


def _trees(head: bytes) -> FileKind | None:
    """The kind of a file of boosted trees, from its first bytes."""
    if head.startswith(b"tree\n") and b"version=v" in head:
        return FileKind.LIGHTGBM
    # A JSON object, or one of UBJSON, where the length of a key stands before it instead of a quote.
    if head.startswith(b"{") and (b'"learner"' in head or b"\x07learner" in head):
        return FileKind.XGBOOST
    return None


def _trees_in(file: Path) -> FileKind | None:
    try:
        with file.open("rb") as stream:
            return _trees(stream.read(_HEAD))
    except OSError:
        return None


def _is_skops(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return "schema.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def detect(path: Path, wanted: str | None = None) -> Artifact:
    """Find the model file below ``path``.

    Args:
        path: a file or a folder.
        wanted: the format that the owner declared; its files are preferred, others refused.

    Raises:
        ModelLoadError: nothing there, nothing known, several candidates, or another format than declared.
    """
    if not path.exists():
        raise ModelLoadError(f"{path} does not exist", "check the path and whether the download has finished")
    of_mlflow = mlflow.package_in(path)
    if of_mlflow is not None:
        return _packaged(of_mlflow, wanted)
    if wanted and wanted.lower() == mlflow.FORMAT:
        raise ModelLoadError(f"{path} holds no MLmodel", "name the folder that MLflow wrote, or declare another format")
    backend = canonical_name(wanted) if wanted else None
    file = path if path.is_file() else _only_candidate(path, backend)
    kind = kind_of(file)
    found = _BACKEND[kind]
    if backend is not None and backend != found:
        raise ModelLoadError(
            f"{file.name} holds a {kind.value} model, but the format is declared as {wanted!r}",
            f"declare {found!r}, or upload a file of the declared format",
        )
    return Artifact(file, kind, found)


def _packaged(folder: Path, wanted: str | None) -> Artifact:
    """The library's own file in a folder of MLflow's."""
    packaged = mlflow.read(folder)
    kind = kind_of(packaged.path)
    found = _BACKEND[kind]
    declared = None if not wanted or wanted.lower() == mlflow.FORMAT else canonical_name(wanted)
    if declared is not None and declared != found:
        raise ModelLoadError(
            f"MLmodel has a model of {found}, but the format is declared as {wanted!r}",
            f"declare {mlflow.FORMAT!r} or {found!r}",
        )
    return Artifact(packaged.path, kind, found, packaged)


def _only_candidate(folder: Path, backend: str | None) -> Path:
    visible = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if not visible:
        raise ModelLoadError(f"{folder} is empty", f"put one of these into it: {_NAMES}")
    candidates = [entry for entry in visible if entry.is_file() and _is_candidate(entry)]
    if backend is not None:
        preferred = [entry for entry in candidates if _backend_of(entry) == backend]
        candidates = preferred or candidates
    named_model = [entry for entry in candidates if entry.stem == "model"]
    candidates = named_model or candidates
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ModelLoadError(
            f"{folder} holds several models: {_listing(candidates)}", "keep one, or let the path name the file"
        )
    versions = [entry for entry in visible if entry.name.isdecimal() and entry.is_dir()]
    if versions:
        return _only_candidate(max(versions, key=lambda entry: int(entry.name)), backend)
    if len(visible) == 1 and visible[0].is_file():
        return visible[0]
    raise ModelLoadError(f"{folder} holds no model file, only: {_listing(visible)}", f"put one of these in: {_NAMES}")


def _is_candidate(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix in _BY_SUFFIX or (suffix in _BY_CONTENT and (file.stem == "model" or _trees_in(file) is not None))


def _backend_of(file: Path) -> str | None:
    """By the name where that says it, else by the content."""
    kind = _BY_SUFFIX.get(file.suffix.lower()) or _trees_in(file)
    return None if kind is None else _BACKEND[kind]


def _listing(entries: list[Path]) -> str:
    names = ", ".join(entry.name for entry in entries[:_LISTED])
    return f"{names} and {len(entries) - _LISTED} more" if len(entries) > _LISTED else names
