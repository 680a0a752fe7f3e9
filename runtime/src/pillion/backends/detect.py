"""Which file to load and by which backend, found from names and first bytes, without loading anything.

Accepted layouts: one file; a folder that MLflow or ``save_pretrained`` wrote; a folder with one model file (KServe:
``model.joblib``, ``model.pkl``, ``model.skops``, ``model.onnx``, ``model.bst``); a folder with one numbered folder per
version (Triton: ``1/model.onnx``), of which the highest counts.
Content wins over the name: a pickle is treated as a pickle whatever it is called. Names that many things have
(``.json``, ``.txt``) count as models by their content only.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.backends import mlflow
from pillion.backends.api import ModelLoadError, canonical_name
from pillion.backends.archives import ZipKind, zip_kind
from pillion.backends.hub_folder import hub_folder, missing_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pillion.backends.hub_folder import HubFolder
    from pillion.backends.mlflow import Packaged

__all__ = ["UNSAFE", "Artifact", "FileKind", "detect", "kind_of"]


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
    TORCH_EXPORT = "torch.export"
    """A program of ``torch.export.save``: PyTorch reads it with pickle and evaluates expressions in it."""
    TORCHSCRIPT = "torchscript"
    """A program of ``torch.jit.save``."""
    TORCH_PICKLE = "torch.save"
    """Weights, or a whole module, of ``torch.save``."""
    SAFETENSORS = "safetensors"
    """Weights alone: the class that they belong to is code."""
    HUB = "transformers"
    """A folder of transformers with weights as safetensors."""
    HUB_PICKLE = "transformers (pickle)"
    """The same with weights that are only there as a pickle."""
    EMBEDDER = "sentence-transformers"
    """A folder of sentence-transformers with weights as safetensors."""
    EMBEDDER_PICKLE = "sentence-transformers (pickle)"
    """The same with weights that are only there as a pickle."""


UNSAFE: Final = frozenset(
    {
        FileKind.PICKLE,
        FileKind.TORCH_EXPORT,
        FileKind.TORCHSCRIPT,
        FileKind.TORCH_PICKLE,
        FileKind.HUB_PICKLE,
        FileKind.EMBEDDER_PICKLE,
    }
)
"""What can run code when it is loaded, or is a program itself: only where policy and owner allow it."""

_BACKEND: Final[Mapping[FileKind, str]] = {
    FileKind.SKOPS: "sklearn",
    FileKind.PICKLE: "sklearn",
    FileKind.ONNX: "onnx",
    FileKind.XGBOOST: "xgboost",
    FileKind.LIGHTGBM: "lightgbm",
    FileKind.TORCH_EXPORT: "torch",
    FileKind.TORCHSCRIPT: "torch",
    FileKind.TORCH_PICKLE: "torch",
    FileKind.SAFETENSORS: "torch",
    FileKind.HUB: "huggingface",
    FileKind.HUB_PICKLE: "huggingface",
    FileKind.EMBEDDER: "embeddings",
    FileKind.EMBEDDER_PICKLE: "embeddings",
}
_BY_SUFFIX: Final[Mapping[str, FileKind]] = {
    ".skops": FileKind.SKOPS,
    ".joblib": FileKind.PICKLE,
    ".pkl": FileKind.PICKLE,
    ".pickle": FileKind.PICKLE,
    ".onnx": FileKind.ONNX,
    ".pt2": FileKind.TORCH_EXPORT,
    ".pt": FileKind.TORCH_PICKLE,
    ".pth": FileKind.TORCH_PICKLE,
    ".safetensors": FileKind.SAFETENSORS,
}
_BY_ZIP: Final[Mapping[ZipKind, FileKind]] = {
    ZipKind.SKOPS: FileKind.SKOPS,
    ZipKind.TORCH_EXPORT: FileKind.TORCH_EXPORT,
    ZipKind.TORCHSCRIPT: FileKind.TORCHSCRIPT,
    ZipKind.TORCH_PICKLE: FileKind.TORCH_PICKLE,
}
_BY_CONTENT: Final[Mapping[str, str]] = {
    ".json": "an XGBoost model: write it with model.save_model('model.json')",
    ".ubj": "an XGBoost model: write it with model.save_model('model.ubj')",
    ".txt": "a LightGBM model: write it with booster.save_model('model.txt')",
    ".bst": "a model of XGBoost or LightGBM: write it with save_model('model.json') or save_model('model.txt')",
}
"""Names that say nothing without the content, and what such a file should be."""
_OF_HUB: Final = frozenset({"huggingface", "embeddings"})
_HEAD: Final = 512
_NAMES: Final = ", ".join(f"model{suffix}" for suffix in (*_BY_SUFFIX, *_BY_CONTENT))
_LISTED: Final = 8


class Artifact(msgspec.Struct, frozen=True):
    """The file or folder to load, what it holds, and the backend that loads it."""

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
    named = _BY_SUFFIX.get(file.suffix.lower())
    if _is_safetensors(head, file):
        return FileKind.SAFETENSORS
    if head[0] == 0x80 and len(head) > 1 and head[1] <= 5:  # opcode PROTO and its number, protocols 2 to 5
        # torch.save wrote bare pickles before it wrote zip files.
        return FileKind.TORCH_PICKLE if named is FileKind.TORCH_PICKLE else FileKind.PICKLE
    trees = _trees(head)
    if trees is not None:
        return trees
    zipped = zip_kind(file) if head.startswith(b"PK\x03\x04") else None
    if zipped is not None:
        return _BY_ZIP[zipped]
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


def _is_safetensors(head: bytes, file: Path) -> bool:
    """Whether it begins with the length of a JSON document, and the document. That length can look like a pickle."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 8 + length <= file.stat().st_size


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
    of_hub = hub_folder(path)
    if of_hub is not None:
        return _saved_pretrained(of_hub, wanted)
    if backend in _OF_HUB and path.is_dir():
        raise missing_config(path) or ModelLoadError(
            f"{path} holds no config.json of {backend}", "name the folder that save_pretrained wrote"
        )
    file = path if path.is_file() else _only_candidate(path, backend)
    kind = kind_of(file)
    found = _BACKEND[kind]
    if backend is not None and backend != found:
        raise ModelLoadError(
            f"{file.name} holds a {kind.value} model, but the format is declared as {wanted!r}",
            f"declare {found!r}, or upload a file of the declared format",
        )
    return Artifact(file, kind, found)


def _saved_pretrained(folder: HubFolder, wanted: str | None) -> Artifact:
    """A folder that ``save_pretrained`` wrote."""
    if folder.embedder:
        kind = FileKind.EMBEDDER if folder.pickled is None else FileKind.EMBEDDER_PICKLE
    else:
        kind = FileKind.HUB if folder.pickled is None else FileKind.HUB_PICKLE
    found = _BACKEND[kind]
    declared = canonical_name(wanted) if wanted else found
    # An embedder is a model of the hub, too; and of a plain encoder an embedder can be made.
    if declared not in _OF_HUB:
        raise ModelLoadError(
            f"{folder.path} holds a model of {kind.value}, but the format is declared as {wanted!r}",
            f"declare {found!r}",
        )
    return Artifact(folder.path, kind, "embeddings" if folder.embedder else declared)


def _packaged(folder: Path, wanted: str | None) -> Artifact:
    """The library's own file in a folder of MLflow's."""
    packaged = mlflow.read(folder)
    of_hub = hub_folder(packaged.path) if packaged.path.is_dir() else None
    if of_hub is not None:
        kind = FileKind.HUB if of_hub.pickled is None else FileKind.HUB_PICKLE
    else:
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
    lacking = missing_config(folder)
    if lacking is not None:
        raise lacking
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
