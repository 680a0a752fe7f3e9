"""Where files are before they are complete, and how they get into place at once.

Everything happens inside the destination, since a mounted volume has no "beside" on the same file system::

    DEST/.partial/owner            which source the directory belongs to
    DEST/.partial/data/...         what is downloaded
    DEST/.partial/state/<hash>     how far each file is
    DEST/.partial/tree/...         what an archive was unpacked to
    DEST/.partial/record.json      the journal: from here on, placing is only ever completed
    DEST/.pillion-artifact.json    the record: written last, it says that everything is in place

Files are synced before the journal is written. Placing renames them one by one; whoever is interrupted there leaves
the journal, and the next run goes on with it. Files of others in the destination are never overwritten or removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from pillion.storage.artifact import Artifact, read_record
from pillion.storage.errors import Reason, StorageError
from pillion.storage.names import MARKER_NAME, PARTIAL_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

__all__ = [
    "Staging",
    "destination_lock",
    "disk_error",
    "make_directory",
    "require_space",
    "sync_directory",
    "sync_files",
    "write_durably",
]

_JOURNAL: Final = "record.json"
_LOCK_POLL_SECONDS: Final = 0.2
_SYNC_THREADS: Final = 8
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Staging:
    """The ``.partial`` directory of a destination."""

    def __init__(self, destination: Path) -> None:
        self.destination = destination
        self.root = destination / PARTIAL_NAME
        self.data = self.root / "data"
        self.state = self.root / "state"
        self.tree = self.root / "tree"

    def prepare(self, identity: str) -> None:
        """Keep what an earlier run for the same source left, remove what one for another source left."""
        owner = self.root / "owner"
        try:
            same = owner.read_text(encoding="utf-8") == identity
        except OSError:
            same = False
        if not same:
            self.discard()
        shutil.rmtree(self.tree, ignore_errors=True)
        for directory in (self.root, self.data, self.state):
            make_directory(directory)
        if not same:
            write_durably(owner, identity)

    def discard(self) -> None:
        """Remove everything that is not complete."""
        if self.root.is_symlink() or self.root.is_file():
            raise _unusable(self.destination, f"{PARTIAL_NAME} in it is not a directory", "remove it")
        if self.root.exists():
            shutil.rmtree(self.root)

    def recover(self) -> None:
        """Complete a placing that was interrupted."""
        artifact = read_record(self.root, _JOURNAL)
        if artifact is not None:
            self._roll_forward(artifact)

    def commit(self, artifact: Artifact, source: Path) -> None:
        """Move the artifact's files from `source`, a directory inside the staging one, into the destination.

        Raises:
            StorageError: `Reason.DESTINATION_UNUSABLE`, where a file of somebody else is in the way.
        """
        old = read_record(self.destination)
        ours = {file.path for file in old.files} if old is not None else set()
        for file in artifact.files:
            self._require_free(file.path, ours)
        if source != self.tree:
            source.rename(self.tree)
        write_durably(self.root / _JOURNAL, artifact.to_json())
        self._roll_forward(artifact)

    def _roll_forward(self, artifact: Artifact) -> None:
        marker = self.destination / MARKER_NAME
        old = read_record(self.destination)
        marker.unlink(missing_ok=True)
        if old is not None:
            self._remove(old, keep={file.path for file in artifact.files})
        touched = {self.destination}
        for file in artifact.files:
            source, target = self.tree / file.path, self.destination / file.path
            if source.exists():  # else an earlier run moved it already
                make_directory(target.parent)
                source.replace(target)
                touched.add(target.parent)
        for directory in touched:
            sync_directory(directory)
        (self.root / _JOURNAL).replace(marker)
        sync_directory(self.destination)
        shutil.rmtree(self.root)

    def _remove(self, old: Artifact, *, keep: set[str]) -> None:
        for file in old.files:
            if file.path in keep:
                continue
            path = self.destination / file.path
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self.destination:
                    break
                try:
                    parent.rmdir()
                except OSError:
                    break  # not empty: something else is in there

    def _require_free(self, name: str, ours: set[str]) -> None:
        path = self.destination / name
        for parent in path.parents:
            if parent == self.destination:
                break
            relative = parent.relative_to(self.destination).as_posix()
            if parent.is_symlink() or (parent.exists() and not parent.is_dir() and relative not in ours):
                raise _unusable(self.destination, f"{relative} in it is not a directory", "remove it")
        if (path.is_symlink() or path.exists()) and name not in ours:
            raise _unusable(
                self.destination,
                f"{name} in it was not put there by Pillion",
                "move it away, or name an empty directory",
            )


@asynccontextmanager
async def destination_lock(destination: Path) -> AsyncIterator[None]:
    """Make the destination, and keep other processes from fetching into it; waits for one that does."""
    try:
        await asyncio.to_thread(make_directory, destination)
        descriptor = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise disk_error(error, destination) from error
    try:
        while not _try_lock(descriptor):  # noqa: ASYNC110  (the other one is another process: no event tells)
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: pods have their destination to themselves
    return True


def require_space(directory: Path, needed: int) -> None:
    """Refuse a download that cannot fit, before it begins.

    Raises:
        StorageError: `Reason.DISK_FULL`.
    """
    with contextlib.suppress(OSError):  # a file system that does not tell
        found = os.statvfs(directory)
        free = found.f_bavail * found.f_frsize
        if found.f_blocks and needed > free:
            raise StorageError(
                Reason.DISK_FULL,
                f"{needed} more bytes do not fit into the {free} bytes that are free in {directory}",
                remedy="give the volume more space, for an emptyDir by its sizeLimit or the node's disk",
            )


def make_directory(path: Path) -> None:
    """Make a directory and those above it, readable for all whatever the umask: the model server is another user."""
    if path.is_dir():
        return
    make_directory(path.parent)
    with contextlib.suppress(FileExistsError):  # a worker beside this one was faster; a file there fails later
        path.mkdir()
        path.chmod(0o755)


def write_durably(path: Path, text: str) -> None:
    """Write a small file so that after a power cut it is either the old or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(path.parent)


def sync_files(paths: Iterable[Path]) -> None:
    """Make files durable. Several at a time, since a journal commits those together: 12 times as fast on ext4."""
    with ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="pillion-storage-sync") as pool:
        for _ in pool.map(_sync_file, paths):
            pass


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EBADF, errno.ENOTSUP}:  # file systems without it
            raise
    finally:
        os.close(descriptor)


def disk_error(error: OSError, destination: Path) -> StorageError:
    """What an error of this machine's file system means."""
    if error.errno in _FULL:
        return StorageError(
            Reason.DISK_FULL,
            f"the disk is full at {destination}",
            remedy="give the volume more space, for an emptyDir by its sizeLimit or the node's disk",
        )
    return _unusable(
        destination,
        f"{error.strerror or type(error).__name__}",
        "check that the volume is mounted for writing, and the pod's fsGroup and runAsUser",
    )


def _unusable(destination: Path, why: str, remedy: str) -> StorageError:
    return StorageError(
        Reason.DESTINATION_UNUSABLE, f"the destination {destination} cannot be used: {why}", remedy=remedy
    )
