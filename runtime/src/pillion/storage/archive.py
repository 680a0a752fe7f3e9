"""Unpacking archives into a fresh directory, whatever they hold.

``.tar``, ``.tar.gz``, ``.tgz`` and ``.zip``. Regular files and directories are made; links are resolved among the
archive's own names and become hard links to the file they lead to, so the tree has no symbolic links; devices, pipes,
sparse and encrypted members are refused. Bytes, files and the ratio of expansion are counted as they come, not as the
archive declares them. Memory does not depend on the archive: no single read of its metadata may exceed a limit.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Final, cast

from pillion.storage.errors import Reason, StorageError
from pillion.storage.extraction import READ_BYTES, Extraction, unsafe
from pillion.storage.names import safe_name

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from pillion.storage.artifact import ArtifactFile
    from pillion.storage.options import FetchOptions

__all__ = ["CORRUPT", "add_tar_member", "archive_format", "tar_members", "unpack"]

_MAX_TAR_READ: Final = 1 << 16
_MAX_ZIP_READ: Final = 8 << 20  # its directory is read at once: room for some 60,000 members
_MAX_TARGET: Final = 4096
_SUFFIXES: Final = {".tar.gz": "tgz", ".tgz": "tgz", ".tar": "tar", ".zip": "zip"}
CORRUPT: Final = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, OverflowError, RecursionError,
    NotImplementedError, struct.error, KeyError, IndexError, RuntimeError,
)  # fmt: skip
"""What the standard library raises for an archive that is not whole, or none at all."""


def archive_format(name: str) -> str | None:
    """``tar``, ``tgz`` or ``zip`` by the ending of a file's name; None where it is no archive."""
    lowered = name.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if lowered.endswith(suffix)), None)


def unpack(
    archive: Path, kind: str, root: Path, options: FetchOptions, stop: threading.Event | None = None
) -> tuple[ArtifactFile, ...]:
    """Unpack into `root`, which must not exist yet; the files, sorted by path. Ends early once `stop` is set.

    Raises:
        StorageError: `Reason.UNSAFE_ARCHIVE`, `Reason.CORRUPT_ARCHIVE`, `Reason.TOO_LARGE`, `Reason.DISK_FULL`.
    """
    extraction = Extraction(root, options, archive.stat().st_size, stop)
    try:
        with archive.open("rb") as file:
            if kind == "zip":
                _unpack_zip(file, extraction)
            elif kind == "tar":
                _unpack_tar(file, extraction)
            else:
                with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:
                    _unpack_tar(cast("IO[bytes]", unzipped), extraction)
    except CORRUPT as error:
        raise StorageError(
            Reason.CORRUPT_ARCHIVE,
            f"the archive {archive.name} cannot be read: {type(error).__name__}",
            remedy="make it again, and compare its sha256sum with the source's",
        ) from error
    return extraction.finish()


class _BoundedReader(io.RawIOBase):
    """A file whose single reads are bounded: archives announce the size of their metadata themselves."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file = file
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        if size > self._limit:
            raise unsafe(f"the archive has metadata of {size} bytes in one piece")
        data = self._file.read(min(size, self._limit) if size >= 0 else self._limit + 1)
        if len(data) > self._limit:
            raise unsafe(f"the archive has metadata of more than {self._limit} bytes in one piece")
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _unpack_tar(file: IO[bytes], extraction: Extraction) -> None:
    for tar, member in tar_members(file):
        extraction.count_member()
        add_tar_member(tar, member, extraction)


def tar_members(file: IO[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each member of a tar, one after the other, with the tar to read it from; memory does not depend on the tar."""
    with tarfile.open(fileobj=_BoundedReader(file, _MAX_TAR_READ), mode="r:", bufsize=READ_BYTES) as tar:
        while (member := tar.next()) is not None:
            yield tar, member
            tar.members = []  # type: ignore[attr-defined]  # not in the stubs; else it keeps every member it has seen


def add_tar_member(tar: tarfile.TarFile, member: tarfile.TarInfo, extraction: Extraction) -> None:
    """Add a member to what the archive comes to, under its own name."""
    if member.issparse():
        raise unsafe(f"{member.name[:120]!a} is a sparse file, which is not unpacked")
    if member.isdir():
        extraction.add_directory(member.name)
    elif member.isreg():
        content = tar.extractfile(member)
        if content is None:
            raise tarfile.ReadError("no content")
        extraction.add_file(member.name, content, member.size, executable=bool(member.mode & stat.S_IXUSR))
    elif member.issym():
        directory = safe_name(member.name).rpartition("/")[0]
        absolute = member.linkname.startswith("/")
        extraction.add_link(member.name, member.linkname if absolute else f"{directory}/{member.linkname}".lstrip("/"))
    elif member.islnk():
        extraction.add_link(member.name, member.linkname)
    else:
        raise unsafe(f"{member.name[:120]!a} is a device, a pipe or of an unknown type")


def _unpack_zip(file: IO[bytes], extraction: Extraction) -> None:
    with zipfile.ZipFile(_BoundedReader(file, _MAX_ZIP_READ)) as archive:
        for member in archive.infolist():
            extraction.count_member()
            _add_zip_member(archive, member, extraction)


def _add_zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, extraction: Extraction) -> None:
    shown = ascii(member.filename[:120])
    mode = member.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if member.flag_bits & 0x1:
        raise unsafe(f"{shown} is encrypted")
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise unsafe(f"{shown} is compressed in a way other than deflate")
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
        raise unsafe(f"{shown} is a device, a pipe or of an unknown type")
    name = member.orig_filename  # zipfile's own filename is cut at NUL bytes and rewritten
    if name.endswith("/"):
        extraction.add_directory(name)
        return
    with archive.open(member) as content:
        if kind == stat.S_IFLNK:
            target = content.read(_MAX_TARGET + 1)
            if len(target) > _MAX_TARGET:
                raise unsafe(f"{shown} is a link with a target that is too long")
            directory = safe_name(name).rpartition("/")[0]
            text = target.decode("utf-8", "surrogateescape")
            extraction.add_link(name, text if text.startswith("/") else f"{directory}/{text}".lstrip("/"))
            return
        extraction.add_file(name, content, member.file_size, executable=bool(mode & stat.S_IXUSR))
