"""A file that is not complete yet, with a note of how far it is that survives the process and the machine.

The note (offset, version, total) is written after the bytes it counts are synced: every 64 MiB, and whenever a stream
ends or breaks; not for a complete file below 1 MiB. A later run cuts the file back to the noted offset and reads that
much again to continue the hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING, Final

from pillion.storage.artifact import ArtifactFile
from pillion.storage.place import make_directory, require_space, write_durably
from pillion.storage.source import SourceChanged

if TYPE_CHECKING:
    from pillion.storage.place import Staging
    from pillion.storage.source import Body, SourceObject

__all__ = ["PartialFile"]

_READ_BYTES: Final = 1 << 20
_CHECKPOINT_BYTES: Final = 64 << 20
_SMALL_BYTES: Final = 1 << 20


class PartialFile:
    """The file of one object in the staging directory.

    Its methods block, and are called from worker threads; a lock keeps a call that was abandoned by a cancelled task
    from running beside the next one.

    Attributes:
        offset: bytes here, the ones not synced included.
        total: size of the whole object in bytes, None while not known.
        version: what the source must still have for the bytes here to be of use, None where nothing is known.
    """

    def __init__(self, staging: Staging, item: SourceObject) -> None:
        self._path = staging.data / item.path
        self._note = staging.state / hashlib.sha256(item.path.encode()).hexdigest()[:32]
        self._destination = staging.destination
        self._item = item
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._file: int | None = None
        self._noted = 0
        self._ended = False
        self.offset = 0
        self.total = item.size
        self.version = item.version

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return self.offset == self.total if self.total is not None else self._ended

    def restore(self) -> None:
        """Open the file, and take up what an earlier run left where it may be of use."""
        with self._lock:
            make_directory(self._path.parent)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                note = json.loads(self._note.read_text(encoding="utf-8"))
                offset, version, total = int(note["offset"]), note["version"], note["total"]
            except (OSError, ValueError, KeyError, TypeError):
                offset, version, total = 0, None, None
            usable = (
                version is not None
                and self._item.version in {None, version}
                and self._item.size in {None, total}
                and os.fstat(self._file).st_size >= offset
            )
            if usable and self._rehash(offset):
                self.offset = self._noted = offset
                self.version, self.total = version, total
            os.ftruncate(self._file, self.offset)
            os.lseek(self._file, self.offset, os.SEEK_SET)

    def _rehash(self, count: int) -> bool:
        left = count
        while left and (chunk := os.pread(self._descriptor, min(left, _READ_BYTES), count - left)):
            self._hash.update(chunk)
            left -= len(chunk)
        if left:
            self._hash = hashlib.sha256()
        return not left

    def restart(self) -> None:
        """Begin again from nothing, with whatever version the source has now."""
        with self._lock:
            self._reset()
            self.version = self.total = None

    def _reset(self) -> None:
        self._hash = hashlib.sha256()
        self.offset = self._noted = 0
        self._ended = False
        self._note.unlink(missing_ok=True)
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)

    def begin(self, body: Body) -> None:
        """Take up a stream.

        Raises:
            SourceChanged: it does not continue what is here.
            StorageError: `Reason.DISK_FULL`, where it cannot fit.
        """
        with self._lock:
            if self.offset and body.offset == 0:
                self._reset()  # the source ignored the offset: what comes is the whole object
            changed = self.offset > 0 and body.version is not None and body.version != self.version
            if changed or body.offset != self.offset:
                raise SourceChanged
            self.total, self.version, self._ended = body.total, body.version, False
            if body.total is not None:
                require_space(self._destination, body.total - self.offset)

    def append(self, data: bytes) -> None:
        """Write and hash what came.

        Raises:
            SourceChanged: it is more than the source had announced.
            OSError: the disk does not take it.
        """
        with self._lock:
            if self.total is not None and self.offset + len(data) > self.total:
                raise SourceChanged
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            self._hash.update(data)
            self.offset += len(data)
            if self.offset - self._noted >= _CHECKPOINT_BYTES:
                self._sync()

    def checkpoint(self) -> None:
        """Make what is here durable and note it; does nothing where there is nothing new."""
        with self._lock:
            if self._file is not None and self.offset > self._noted and not self._small:
                self._sync()

    @property
    def _small(self) -> bool:
        """Complete, and so small that fetching it again costs less than a note: trees may have thousands of those."""
        return self.complete and self.offset < _SMALL_BYTES

    def _sync(self) -> None:
        os.fsync(self._descriptor)
        note = {"path": self._item.path, "offset": self.offset, "version": self.version, "total": self.total}
        write_durably(self._note, json.dumps(note))
        self._noted = self.offset

    def end(self) -> None:
        """Note that the source said that the stream is at its end."""
        self._ended = True

    def finish(self) -> ArtifactFile:
        """Sync and describe the complete file."""
        with self._lock:
            os.fchmod(self._descriptor, 0o644)  # whatever the umask: the model server may be another user
            os.fsync(self._descriptor)
            if self.offset > self._noted and not self._small:
                self._sync()
            modified = os.fstat(self._descriptor).st_mtime_ns
        return ArtifactFile(self._item.path, self.offset, self._hash.hexdigest(), modified)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    @property
    def _descriptor(self) -> int:
        if self._file is None:
            raise OSError("the partial file is closed")
        return self._file
