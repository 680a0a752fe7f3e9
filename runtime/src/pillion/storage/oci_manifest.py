"""What a manifest of a registry holds for a model server: files, and layers to unpack. Pure.

=========================  ===========================================================================================
an image                   layers without names of files: the folder ``/models`` of what they come to, as KServe's
                           ModelCar has it
an artifact as of ORAS     a layer with ``org.opencontainers.image.title`` is a file of that name; one that is marked
                           ``io.deis.oras.content.unpack`` is a tar of a folder
a ModelPack of CNCF        ``application/vnd.cncf.model.*``: those that end in ``.raw`` are files named by
                           ``org.cncf.model.filepath``, the others tars
=========================  ===========================================================================================

Sources: OCI image specification 1.1 ("Image Manifest", "Image Index", "Annotations"); ORAS, "Unpacking"; CNCF
ModelPack, "Model Format Specification".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pillion.oci.content import INDEXES, Descriptor, parsed
from pillion.oci.errors import ImageError
from pillion.storage.errors import Reason, StorageError
from pillion.storage.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MODELS_FOLDER", "Contents", "NamedFile", "child", "contents"]

MODELS_FOLDER: Final = "models"
"""Where an image has the model's files."""
_TITLE: Final = "org.opencontainers.image.title"
_UNPACK: Final = "io.deis.oras.content.unpack"
_MODEL_TYPES: Final = "application/vnd.cncf.model."
_FILE_PATHS: Final = ("org.cncf.model.filepath", "org.cnai.model.filepath")
_EMPTY: Final = "application/vnd.oci.empty.v1+json"
_LAYERS: Final = (
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)
_CODINGS: Final = ("", "+gzip", "+zstd", ".gzip", ".zstd")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A blob that is a file: the safe relative path that it gets."""

    blob: Descriptor
    path: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What there is to fetch.

    Attributes:
        layers: tars, the lowest first.
        image: whether the layers are those of an image, with the model's files in `MODELS_FOLDER`.
    """

    files: tuple[NamedFile, ...]
    layers: tuple[Descriptor, ...]
    image: bool


def child(media_type: str, data: bytes, architecture: str, where: str) -> Descriptor | None:
    """The manifest to go on with, where this is an index: for Linux on `architecture`, else the first that is one.

    The files of a model are the same for every machine, and many images are made for one only.

    Raises:
        StorageError: it is an index without a manifest, or no document of a registry.
    """
    document = _read(data, where)
    if media_type not in INDEXES and document.get("mediaType") not in INDEXES:
        return None
    entries = [
        entry
        for entry in _objects(document, "manifests", where)
        if (entry.get("platform") or {}).get("os") != "unknown"  # attestations, beside the images that they are about
    ]
    if not entries:
        raise _no_model(f"{where} is an index without images")
    linux = [entry for entry in entries if (entry.get("platform") or {}).get("os") in {None, "linux"}]
    wanted = [entry for entry in linux if (entry.get("platform") or {}).get("architecture") == architecture]
    return _descriptor((wanted or linux or entries)[0], where)


def contents(data: bytes, where: str) -> Contents:
    """What a manifest holds.

    Raises:
        StorageError: nothing that a model could be, or names that are not safe; names the media type.
    """
    document = _read(data, where)
    files: list[NamedFile] = []
    layers: list[Descriptor] = []
    image = True
    for entry in [*_objects(document, "layers", where), *_objects(document, "blobs", where)]:
        blob, notes = _descriptor(entry, where), entry.get("annotations") or {}
        if blob.media_type == _EMPTY:
            continue
        name = _name_of(blob, notes)
        if name is not None:
            path = safe_name(name, reason=Reason.UNSAFE_PATH)
            if not path:
                raise _no_model(f"{where} has a file without a name")
            files.append(NamedFile(blob, path))
        elif _is_tar(blob, notes):
            layers.append(blob)
            image = image and blob.media_type.startswith(_LAYERS) and not _true(notes)
        else:
            raise _no_model(f"{where} has a layer of the type {blob.media_type[:100]!r} without a name of a file")
    if not files and not layers:
        kind = str(document.get("artifactType") or (document.get("config") or {}).get("mediaType") or "no type")
        raise _no_model(f"{where} has no files; it is of the type {kind[:100]!r}")
    twice = _twice(file.path for file in files)
    if twice:
        raise _no_model(f"{where} has the file {twice[:120]!a} twice")
    return Contents(tuple(files), tuple(layers), image and bool(layers) and not files)


def _name_of(blob: Descriptor, notes: Mapping[str, Any]) -> str | None:
    """The path of a layer that is a file; None where it is a tar, or of an unknown kind."""
    if blob.media_type.startswith(_MODEL_TYPES) and not blob.media_type.endswith(".raw"):
        return None
    if _true(notes):
        return None
    found = next((notes[key] for key in (*_FILE_PATHS, _TITLE) if notes.get(key)), None)
    return None if found is None else str(found)


def _is_tar(blob: Descriptor, notes: Mapping[str, Any]) -> bool:
    if _true(notes) or blob.media_type.startswith(_LAYERS):
        return True
    return blob.media_type.startswith(_MODEL_TYPES) and any(
        blob.media_type.endswith(f".tar{coding}") for coding in _CODINGS
    )


def _true(notes: Mapping[str, Any]) -> bool:
    return str(notes.get(_UNPACK)).lower() == "true"


def _read(data: bytes, where: str) -> dict[str, Any]:
    try:
        return parsed(data, where)
    except ImageError:
        raise _no_model(f"{where} did not come as a manifest") from None


def _objects(document: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    found = document.get(key) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise _no_model(f"{where} did not come as a manifest")
    for entry in found:
        if not all(isinstance(entry.get(field) or {}, dict) for field in ("annotations", "platform")):
            raise _no_model(f"{where} did not come as a manifest")
    return found


def _descriptor(entry: Mapping[str, Any], where: str) -> Descriptor:
    try:
        found = Descriptor.read(entry, where)
    except ImageError as error:
        raise _no_model(str(error)) from None
    if found.size < 0:
        raise _no_model(f"{where} has a blob of {found.size} bytes")
    return found


def _twice(paths: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            return path
        seen.add(path)
    return None


def _no_model(message: str) -> StorageError:
    return StorageError(
        Reason.OBJECT_NOT_FOUND,
        message,
        remedy="name an image with the model in its folder /models, or push the files with `pillion push`",
    )
