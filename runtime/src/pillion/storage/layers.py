"""Layers of images and tars of artifacts, unpacked into one tree.

The layers of an image are read from the top down: what an upper one has, or takes away by a whiteout, is passed over in
those below, so that every file is written once and nothing is written that does not stay. Of an image only the folder
``/models`` is taken. Names, links and limits are those of archives (`pillion.storage.extraction`). How a layer is
compressed is seen from its first bytes. Source: OCI image specification 1.1, "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

import gzip
import posixpath
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Final, cast

from pillion.storage.archive import CORRUPT, add_tar_member, tar_members
from pillion.storage.errors import Reason, StorageError
from pillion.storage.extraction import Extraction, unsafe
from pillion.storage.oci_manifest import MODELS_FOLDER

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pillion.storage.artifact import ArtifactFile
    from pillion.storage.options import FetchOptions

__all__ = ["unpack_artifact", "unpack_image"]

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW: Final = 26
"""Memory for a layer by the logarithm: 64 MiB, more than any level of zstd uses without being asked to."""
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"


def unpack_image(
    layers: Sequence[Path], tree: Path, options: FetchOptions, stop: threading.Event
) -> tuple[ArtifactFile, ...]:
    """Unpack the folder ``/models`` of an image; the files, sorted by path.

    Args:
        layers: its layers, the lowest first.
        tree: a directory that does not exist yet.
        options: the limits.
        stop: ends it early.

    Raises:
        StorageError: as `pillion.storage.archive.unpack`; `Reason.OBJECT_NOT_FOUND`, where there is no such folder.
    """
    once = tuple(dict.fromkeys(reversed(layers)))  # what is there again adds nothing, and would cost its time again
    extraction = Extraction(tree, options, _size(once), stop)
    above = _Above()
    found = False
    for layer in once:
        here = _Above()
        passed: set[str] = set()
        with _opened(layer) as file:
            for tar, member in tar_members(file):
                path = _path_in_image(member.name)
                folder, _, name = path.rpartition("/")
                extraction.pass_over(tarfile.BLOCKSIZE)  # its header: many of nothing are work, too
                if name.startswith(_WHITEOUT):
                    extraction.pass_over(member.size)
                    if _concerns_models(folder if name == _OPAQUE else path):
                        extraction.count_member()
                        here.take_away(folder, name)
                elif path == MODELS_FOLDER and not member.isdir():
                    if not above.hide(path, folder=False):
                        raise unsafe(f"/{MODELS_FOLDER} of the image is no folder")
                    extraction.pass_over(member.size)
                    here.gone.add(path)
                elif path.startswith(f"{MODELS_FOLDER}/"):
                    extraction.count_member()
                    if above.hide(path, folder=member.isdir()):
                        passed.add(path)
                        extraction.pass_over(member.size)
                        if not member.isdir():
                            here.gone.add(path)  # it had replaced a folder of the layers below, with all in it
                        continue
                    found = found or not member.isdir()
                    _add(tar, member, path, extraction, passed)
                    (here.folders if member.isdir() else here.files).add(path)
                    here.folders.update(_parents(path))
                else:
                    extraction.pass_over(member.size)
        above.add(here)
    if not found:
        raise StorageError(
            Reason.OBJECT_NOT_FOUND,
            f"the image has no files in /{MODELS_FOLDER}",
            remedy=f"build it with the model's files there, as `COPY model/ /{MODELS_FOLDER}/` does",
        )
    return extraction.finish()


def unpack_artifact(
    layers: Sequence[Path],
    files: Sequence[tuple[Path, str]],
    tree: Path,
    options: FetchOptions,
    stop: threading.Event,
) -> tuple[ArtifactFile, ...]:
    """Unpack an artifact's tars beside its files, which are given with the paths that they get.

    Raises:
        StorageError: as `pillion.storage.archive.unpack`.
    """
    extraction = Extraction(tree, options, _size(layers) + _size([path for path, _ in files]), stop)
    for source, path in files:
        extraction.count_member()
        with source.open("rb") as content:
            extraction.add_file(path, content, source.stat().st_size, executable=False)
    for layer in layers:
        with _opened(layer) as file:
            for tar, member in tar_members(file):
                extraction.count_member()
                add_tar_member(tar, member, extraction)
    return extraction.finish()


@dataclass(slots=True)
class _Above:
    """What the layers above have said, as paths in the image."""

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)

    def add(self, layer: _Above) -> None:
        self.files |= layer.files
        self.folders |= layer.folders
        self.gone |= layer.gone
        self.opaque |= layer.opaque

    def take_away(self, folder: str, whiteout: str) -> None:
        """Note the whiteout of that name in the folder."""
        if whiteout == _OPAQUE:
            self.opaque.add(folder)
        else:
            self.gone.add(posixpath.join(folder, whiteout.removeprefix(_WHITEOUT)))

    def hide(self, path: str, *, folder: bool) -> bool:
        """Whether what a lower layer has at the path does not stay."""
        if path in self.files or path in self.gone or (path in self.folders and not folder):
            return True
        return any(
            parent in self.files or parent in self.gone or parent in self.opaque for parent in (*_parents(path), "")
        )


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _concerns_models(path: str) -> bool:
    return path in {"", MODELS_FOLDER} or path.startswith((f"{MODELS_FOLDER}/", f"{_WHITEOUT}{MODELS_FOLDER}"))


def _path_in_image(name: str) -> str:
    """The path from the image's root; what is not below ``models`` is only looked at, so its other parts may be odd."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise unsafe(f"the name {name[:120]!a} in a layer has '..' in it")
    return "/".join(parts)


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, extraction: Extraction, passed: set[str]) -> None:
    """Add a member of an image's layer, whose names count from the image's root."""
    name = path.removeprefix(f"{MODELS_FOLDER}/")
    if member.issym() or member.islnk():
        # Links count from their own folder, hard links and absolute ones from the image's root.
        folder = "/" if member.islnk() or member.linkname.startswith("/") else f"/{path.rpartition('/')[0]}"
        target = posixpath.normpath(posixpath.join(folder, member.linkname.lstrip("/"))).lstrip("/")
        if not target.startswith(f"{MODELS_FOLDER}/"):
            raise unsafe(f"{path[:120]!a} in the image is a link that leads out of /{MODELS_FOLDER}")
        if member.islnk() and target in passed:
            raise unsafe(f"{path[:120]!a} in the image is a hard link to a file that an upper layer replaces")
        extraction.add_link(name, target.removeprefix(f"{MODELS_FOLDER}/"))
        return
    member.name = name
    add_tar_member(tar, member, extraction)


@contextmanager
def _opened(layer: Path) -> Iterator[IO[bytes]]:
    """A layer's tar, whatever it is compressed with.

    Raises:
        StorageError: `Reason.CORRUPT_ARCHIVE`, also for what is read of it later.
    """
    shown = f"the layer sha256:{layer.name[:12]}..."
    corrupt: tuple[type[Exception], ...] = CORRUPT
    try:
        with layer.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            if head.startswith(_GZIP):
                with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:
                    yield cast("IO[bytes]", unzipped)
            elif head == _ZSTD:
                zstd = _zstd()
                corrupt = (*CORRUPT, zstd.ZstdError)
                window = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
                with zstd.ZstdFile(file, options=window) as unzipped_:
                    yield cast("IO[bytes]", unzipped_)
            else:
                yield file
    except StorageError:
        raise
    except corrupt as error:
        raise StorageError(
            Reason.CORRUPT_ARCHIVE,
            f"{shown} cannot be read: {type(error).__name__}",
            remedy="build and push the image again",
        ) from error


def _zstd() -> Any:  # noqa: ANN401 - the same module under two names, of which a Python has one
    for name in ("compression.zstd", "backports.zstd"):  # the standard library's is there from Python 3.14 on
        try:
            return import_module(name)
        except ImportError:
            continue
    raise StorageError(
        Reason.UNSUPPORTED_SCHEME,
        "a layer is compressed with zstd, which this Python cannot read",
        remedy="push the image with layers in gzip, or pip install backports.zstd",
    )


def _size(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
