"""Files of this machine and of mounted volumes (PersistentVolumeClaim, ConfigMap) as a source.

Symbolic links are followed only where they end inside the link root, since a volume that others write must not make a
pod copy its own secrets. The kubelet's own layout of a ConfigMap (``key -> ..data/key``) stays inside, so it works;
its bookkeeping entries, whose names begin with two dots, are left out.
"""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.storage.errors import Reason, StorageError
from pillion.storage.names import MARKER_NAME, PARTIAL_NAME, safe_name
from pillion.storage.source import Body, Listing, SourceChanged, SourceObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["LocalSource"]

_READ_BYTES: Final = 1 << 20


class LocalSource:
    """A file, or a directory with all regular files below it."""

    def __init__(self, path: Path, *, link_root: Path | None, max_files: int) -> None:
        self._path = path
        self._link_root = link_root
        self._max_files = max_files

    async def list(self, *, versions: bool) -> Listing:  # noqa: ARG002  (a file's version costs nothing)
        """The file, or every file below the directory."""
        return await asyncio.to_thread(self._list)

    @asynccontextmanager
    async def open(self, item: SourceObject, offset: int, version: str | None) -> AsyncIterator[Body]:
        """Stream a file from an offset; its version is its identity, size and modification time."""
        descriptor, total, found = await asyncio.to_thread(self._open, item.key)
        try:
            if offset > total or (version is not None and version != found):
                raise SourceChanged
            os.lseek(descriptor, offset, os.SEEK_SET)
            yield Body(offset, total, found, _chunks(descriptor))
        finally:
            os.close(descriptor)

    async def close(self) -> None:
        """Nothing is held."""

    def _root(self) -> Path:
        """Where links may lead: the given root, else the directory itself, or the one that the file is in."""
        if self._link_root is not None:
            return self._link_root.resolve()
        return (self._path if self._path.is_dir() else self._path.parent).resolve()

    def _list(self) -> Listing:
        try:
            root = self._root()
            if self._path.is_dir():
                items = tuple(self._walk(root))
                return Listing(tuple(sorted(items, key=lambda item: item.path)), single=False)
            self._inside(self._path, root)
            return Listing((_describe(self._path, safe_name(self._path.name, reason=Reason.UNSAFE_PATH)),), single=True)
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def _walk(self, root: Path) -> Iterator[SourceObject]:
        count = 0
        pending = [(self._path, "")]
        seen: set[Path] = set()
        while pending:
            directory, prefix = pending.pop()
            real = self._inside(directory, root)
            if real in seen:
                continue  # a link back to a directory that was listed already
            seen.add(real)
            with os.scandir(real) as entries:
                found = list(entries)
            for entry in found:
                if entry.name.startswith("..") or (
                    not prefix and entry.name in {MARKER_NAME, PARTIAL_NAME, "lost+found"}
                ):
                    continue
                name = safe_name(f"{prefix}{entry.name}", reason=Reason.UNSAFE_PATH)
                path = Path(entry.path)
                self._inside(path, root)
                if entry.is_dir():
                    pending.append((path, f"{name}/"))
                    continue
                count += 1
                if count > self._max_files:
                    raise too_many_files(self._max_files)
                yield _describe(path, name)

    def _inside(self, path: Path, root: Path) -> Path:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root):
            raise StorageError(
                Reason.UNSAFE_PATH,
                f"{path} is a symbolic link that leads out of {root}",
                remedy="replace the link by the file, or name a directory that holds both as the link root",
            )
        return real

    def _open(self, key: str) -> tuple[int, int, str]:
        """Open a listed file, checked again, since a volume can change under us: the descriptor, size, version."""
        path = Path(key)
        try:
            real = self._inside(path, self._root())
            descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                opened = Path(f"/proc/self/fd/{descriptor}")
                if opened.exists():  # Linux tells what was really opened, whatever happened to directories on the way
                    self._inside(opened, self._root())
                found = os.fstat(descriptor)
                _require_regular(path, found)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise _unreadable(path, error) from error
        return descriptor, found.st_size, _version(found)


async def _chunks(descriptor: int) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(os.read, descriptor, _READ_BYTES):
        yield chunk


def _describe(path: Path, name: str) -> SourceObject:
    found = path.stat()
    _require_regular(path, found)
    return SourceObject(str(path), name, found.st_size, _version(found))


def _version(found: os.stat_result) -> str:
    return f"{found.st_dev:x}-{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"


def _require_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(
            Reason.UNSAFE_PATH,
            f"{path} is neither a regular file nor a directory",
            remedy="remove sockets, pipes and devices from the source",
        )


def too_many_files(limit: int) -> StorageError:
    """The refusal of a source or an archive with more than `limit` files."""
    return StorageError(
        Reason.TOO_LARGE,
        f"the artifact has more than {limit} files",
        remedy="name a narrower path, or raise PILLION_STORAGE_MAX_FILES",
    )


def _unreadable(path: Path, error: OSError) -> StorageError:
    if isinstance(error, FileNotFoundError):
        return StorageError(Reason.OBJECT_NOT_FOUND, f"{path} does not exist", remedy="check the path and the mount")
    if isinstance(error, PermissionError):
        return StorageError(
            Reason.ACCESS_DENIED,
            f"{path} may not be read",
            remedy="check its mode, and the pod's fsGroup and runAsUser",
        )
    return StorageError(
        Reason.DOWNLOAD_FAILED,
        f"{path} cannot be read: {error.strerror}",
        remedy="check the volume",
        transient=True,
    )
