"""What an archive has come to while it is unpacked: the files so far, under their limits, whatever the format."""

from __future__ import annotations

import hashlib
import os
from typing import IO, TYPE_CHECKING, Final

from pillion.storage.artifact import ArtifactFile
from pillion.storage.errors import Reason, StorageError
from pillion.storage.local import too_many_files
from pillion.storage.names import resolve_link, safe_name
from pillion.storage.place import disk_error, make_directory, sync_files

if TYPE_CHECKING:
    import io
    import threading
    from pathlib import Path

    from pillion.storage.options import FetchOptions

__all__ = ["READ_BYTES", "Extraction", "unsafe"]

READ_BYTES: Final = 1 << 16
"""How much of a member is read at once."""
_ALWAYS_ALLOWED: Final = 64 << 20


class Extraction:
    """What an archive has come to so far, under its limits."""

    def __init__(
        self, root: Path, options: FetchOptions, archive_size: int, stop: threading.Event | None = None
    ) -> None:
        self._root = root
        self._stop = stop
        self._max_files = options.max_files
        self._max_ratio = max(_ALWAYS_ALLOWED, int(options.max_unpack_ratio * archive_size))
        self._max_bytes = options.max_bytes
        self._bytes = 0
        self._passed = 0
        self._members = 0
        self._files: dict[str, ArtifactFile] = {}
        self._links: dict[str, str] = {}
        self._directories: set[str] = set()
        make_directory(root)

    def count_member(self) -> None:
        """Count a member of whatever type."""
        self._members += 1
        if self._members > 2 * self._max_files:  # directories count, too, since they fill a disk as well
            raise too_many_files(self._max_files)

    def pass_over(self, count: int) -> None:
        """Count bytes that are read and not kept.

        Raises:
            ValueError: fewer than none, as a tar may say.
        """
        if count < 0:
            raise ValueError(f"{count} bytes")
        self._passed += count
        self._count_bytes(0)

    def add_directory(self, name: str) -> None:
        """Make a directory and those above it."""
        self._make_directories(safe_name(name))

    def add_file(self, name: str, content: IO[bytes], size: int, *, executable: bool) -> None:
        """Write a regular file of just `size` bytes."""
        path = self._new_name(name)
        self._make_directories(path.rpartition("/")[0])
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        digest = hashlib.sha256()
        written = 0
        try:
            descriptor = os.open(self._root / path, flags, 0o644)
        except OSError as error:
            raise disk_error(error, self._root.parent.parent) from error
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  (a descriptor, not a path)
            while chunk := content.read(READ_BYTES):
                written += len(chunk)
                self._count_bytes(len(chunk))
                digest.update(chunk)
                _write(file, chunk, self._root)
            if written != size:
                raise EOFError(f"{written} of {size} bytes")
            try:
                os.fchmod(file.fileno(), 0o755 if executable else 0o644)
            except OSError as error:
                raise disk_error(error, self._root.parent.parent) from error
            self._files[path] = ArtifactFile(path, written, digest.hexdigest(), os.fstat(file.fileno()).st_mtime_ns)

    def add_link(self, name: str, target: str) -> None:
        """Note a link; `target` is relative to the root of the archive."""
        path = self._new_name(name)
        self._make_directories(path.rpartition("/")[0])
        self._links[path] = target

    def finish(self) -> tuple[ArtifactFile, ...]:
        """Make the links; every file, sorted by path."""
        for name in self._links:
            found = self._files[resolve_link(name, self._links, self._files.keys())]
            _link_or_copy(self._root / found.path, self._root / name)
            self._files[name] = ArtifactFile(name, found.size, found.sha256, (self._root / name).stat().st_mtime_ns)
        if not self._files:
            raise StorageError(
                Reason.CORRUPT_ARCHIVE, "the archive has no files", remedy="put the model's files into it"
            )
        try:
            sync_files(self._root / name for name in self._files if name not in self._links)
        except OSError as error:
            raise disk_error(error, self._root.parent.parent) from error
        return tuple(sorted(self._files.values(), key=lambda file: file.path))

    def _new_name(self, name: str) -> str:
        path = safe_name(name)
        if not path or path in self._files or path in self._links or path in self._directories:
            raise unsafe(f"the name {name[:120]!a} is twice in the archive, or is its root")
        if len(self._files) + len(self._links) >= self._max_files:
            raise too_many_files(self._max_files)
        return path

    def _make_directories(self, path: str) -> None:
        parts = path.split("/") if path else []
        for count in range(1, len(parts) + 1):
            name = "/".join(parts[:count])
            if name in self._directories:
                continue
            if name in self._files or name in self._links:
                raise unsafe(f"the name {name[:120]!a} is a file and a directory in the archive")
            try:
                make_directory(self._root / name)
            except OSError as error:
                raise disk_error(error, self._root.parent.parent) from error
            self._directories.add(name)

    def _count_bytes(self, count: int) -> None:
        self._bytes += count
        if self._stop is not None and self._stop.is_set():
            raise StorageError(Reason.DOWNLOAD_FAILED, "unpacking was stopped", remedy="start it again", transient=True)
        if self._max_bytes and self._bytes > self._max_bytes:
            raise StorageError(
                Reason.TOO_LARGE,
                f"the archive unpacks to more than {self._max_bytes} bytes",
                remedy="raise PILLION_STORAGE_MAX_BYTES, or make it smaller",
            )
        if self._bytes + self._passed > self._max_ratio:
            raise StorageError(
                Reason.TOO_LARGE,
                f"the archive unpacks to more than {self._max_ratio} bytes, out of proportion to its size",
                remedy="if it is meant to, raise PILLION_STORAGE_MAX_UNPACK_RATIO",
            )


def _write(file: io.FileIO, chunk: bytes, root: Path) -> None:
    view = memoryview(chunk)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise disk_error(error, root.parent.parent) from error


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without hard links
        try:
            with source.open("rb") as content, target.open("xb") as file:
                while chunk := content.read(1 << 20):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            target.chmod(0o644)
        except OSError as error:
            raise disk_error(error, target.parent) from error


def unsafe(message: str) -> StorageError:
    """The refusal of an archive."""
    return StorageError(
        Reason.UNSAFE_ARCHIVE,
        message,
        remedy="make the archive again with regular files, directories and inner links only",
    )
