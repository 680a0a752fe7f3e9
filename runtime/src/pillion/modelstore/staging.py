"""A version that is being put together: files under names that are checked, hashed while they are written.

Whatever is in the folder got there through this class, so that a version holds regular files and directories only, and
its digest needs no second reading. Its methods block.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import threading
from typing import TYPE_CHECKING, Final, Self

from pillion.errors import ErrorCode, PillionError
from pillion.modelstore.disk import disk_errors
from pillion.modelstore.records import FILES, FileRecord
from pillion.storage.digest import tree_digest
from pillion.storage.errors import Reason, StorageError
from pillion.storage.names import MARKER_NAME, PARTIAL_NAME, safe_name
from pillion.storage.place import make_directory, sync_directory, sync_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import IO

    from pillion.storage.artifact import ArtifactFile

__all__ = ["StagedFile", "Staging"]

_READ_BYTES: Final = 1 << 20
_MOST_FILES: Final = 20_000
_OWN: Final = frozenset({MARKER_NAME, PARTIAL_NAME})


class StagedFile:
    """One file that is being written."""

    def __init__(self, staging: Staging, path: str, file: IO[bytes]) -> None:
        self._staging = staging
        self._file = file
        self._hash = hashlib.sha256()
        self.path = path
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add to the file.

        Raises:
            PillionError: ``STORAGE_FULL``.
        """
        view = memoryview(data)
        self._hash.update(view)
        self.size += len(view)
        with disk_errors(self._staging.root.parent.parent):
            while view:
                view = view[self._file.write(view) :]

    def finish(self) -> None:
        """The file is complete."""
        os.fchmod(self._file.fileno(), 0o644)  # whatever the umask: another user may load it
        self._file.close()
        self._staging.record(FileRecord(self.path, self.size, self._hash.hexdigest()))

    def close(self) -> None:
        """Give an incomplete file up; a complete one stays."""
        self._file.close()


class Staging:
    """A folder inside the store that is not a version yet. A context manager: leaving it removes what is left.

    Args:
        root: the folder, which is there and is this process's alone.
        lock: a descriptor of the folder that is closed with it: as long as it is open, nobody clears the folder away.
    """

    def __init__(self, root: Path, lock: int) -> None:
        self.root = root
        self.files = root / FILES
        self._lock: int | None = lock
        self.busy = threading.Lock()
        """Held while it becomes a version, which whoever gives up waiting for that must not remove half of."""
        self._records: dict[str, FileRecord] = {}
        self._directories: set[str] = set()
        self.single = False
        """Whether the version is one file by itself."""
        make_directory(self.files)

    def open(self, name: str) -> StagedFile:
        """Begin a file of that relative path.

        Raises:
            PillionError: ``INVALID_ARGUMENT``; the name leads elsewhere, or is there already.
        """
        path = _inside(name)
        if path in self._records:
            raise _refused(f"{path!r} is there twice")
        if len(self._records) >= _MOST_FILES:
            raise _refused(f"there are more than {_MOST_FILES} files")
        parent, _, _ = path.rpartition("/")
        self._make(parent, path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.files / path, flags, 0o644)
        except (FileExistsError, IsADirectoryError):
            raise _refused(f"{path!r} is a folder of another file, or is being written") from None
        return StagedFile(self, path, os.fdopen(descriptor, "wb", buffering=0))

    def add(self, source: Path) -> None:
        """Copy a file, or every file below a folder.

        Raises:
            PillionError: ``INVALID_ARGUMENT``; it has no files, or has links, pipes or devices in it.
            OSError: it cannot be read, or the disk does not take it.
        """
        if source.is_symlink():
            raise _refused(f"{source} is a symbolic link")
        if not source.exists():
            raise _refused(f"{source} does not exist")
        if source.is_file():
            self._copy(source, source.name)
            self.single = True
            return
        found = False
        for path in sorted(_regular(source)):
            found = True
            self._copy(path, path.relative_to(source).as_posix())
        if not found:
            raise _refused(f"{source} has no files in it")

    def adopt(self, files: Iterable[ArtifactFile]) -> None:
        """Take files that a fetch has put into :attr:`files`."""
        for file in files:
            self.record(FileRecord(file.path, file.size, file.sha256))
        for name in _OWN:
            left = self.files / name
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)

    def record(self, file: FileRecord) -> None:
        """Count a file in that is complete."""
        self._records[file.path] = file

    @property
    def records(self) -> tuple[FileRecord, ...]:
        """Every complete file, by path."""
        return tuple(self._records[path] for path in sorted(self._records))

    @property
    def size(self) -> int:
        """Bytes, all files together."""
        return sum(file.size for file in self._records.values())

    def digest(self) -> str:
        """The digest of what is here."""
        records = self.records
        if self.single:
            return f"sha256:{records[0].sha256}"
        return tree_digest((file.path, file.size, file.sha256) for file in records)

    def sync(self) -> None:
        """Make everything durable."""
        sync_files(self.files / file.path for file in self.records)
        for folder, _, _ in os.walk(self.root, topdown=False):
            sync_directory(self.root.__class__(folder))

    def release(self) -> None:
        """Let others have the folder, which is a version from now on."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Remove everything, unless it has become a version."""
        with self.busy:
            if self._lock is not None:
                shutil.rmtree(self.root, ignore_errors=True)
                self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _make(self, folder: str, path: str) -> None:
        for count in range(1, folder.count("/") + 2 if folder else 1):
            name = "/".join(folder.split("/")[:count])
            if name in self._directories:
                continue
            if name in self._records:
                raise _refused(f"{name!r} is a file, and a folder in {path!r}")
            try:
                make_directory(self.files / name)
            except (FileExistsError, NotADirectoryError):
                raise _refused(f"{name!r} is a file, and a folder in {path!r}") from None
            self._directories.add(name)

    def _copy(self, source: Path, name: str) -> None:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as content:
            if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
                raise _refused(f"{source} is not a regular file")
            target = self.open(name)
            with contextlib.closing(target):
                buffer = bytearray(_READ_BYTES)
                view = memoryview(buffer)
                while count := content.readinto(buffer):
                    target.write(view[:count])
                target.finish()


def _regular(folder: Path) -> Iterable[Path]:
    for found in folder.rglob("*"):
        mode = found.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            what = "a symbolic link" if stat.S_ISLNK(mode) else "a pipe, a socket or a device"
            raise _refused(f"{found.relative_to(folder).as_posix()!r} is {what}")
        yield found


def _inside(name: str) -> str:
    try:
        path = safe_name(name, reason=Reason.UNSAFE_PATH)
    except StorageError as error:
        raise _refused(error.message.replace(" in the source", "")) from None
    if not path:
        raise _refused(f"{name[:80]!a} names no file")
    return path


def _refused(message: str) -> PillionError:
    return PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"files of the model: {message}",
        field="model_files",
        remedy="send regular files under plain relative names",
    )
