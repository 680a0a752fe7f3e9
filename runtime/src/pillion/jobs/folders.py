"""Files of jobs: a folder each below ``files``, written so that a power cut leaves all of a file or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import TYPE_CHECKING, Final

from pillion.durable import sync_folder
from pillion.jobs.store import JobStoreError, Payload, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FILES", "JobFolders", "make_private", "write_atomically"]

FILES: Final = "files"
"""Folder of the jobs' folders, beside the store."""
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class JobFolders:
    """The folders.

    Args:
        root: of all of them; None where the store keeps everything itself.
        inline: payloads of at most so many bytes stay in the store.
    """

    def __init__(self, root: Path | None, inline: int) -> None:
        self.root = root
        self._inline = inline

    def of(self, identity: str) -> Path:
        """A job's folder; it may not be there."""
        if self.root is None:
            raise JobStoreError("jobs that are kept in a database have no folders")
        return self.root / identity

    def keep(
        self,
        identity: str,
        role: str,
        content: bytes | memoryview,
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Payload:
        """Put content where it belongs; on disk when this returns, or to be put there by the store.

        Raises:
            StoreFullError: there is no room.
        """
        if self.root is None or len(content) <= self._inline:
            return Payload(media_type, bytes(content), headers=dict(headers or {}))
        write_atomically(self.of(identity) / role, content)
        return Payload(media_type, file=role, headers=dict(headers or {}), file_bytes=len(content))

    def read(self, identity: str, payload: Payload) -> bytes:
        """The content."""
        if payload.inline is not None:
            return payload.inline
        return (self.of(identity) / payload.file).read_bytes()

    def remove(self, identity: str) -> None:
        """Delete a job's folder."""
        if self.root is not None:
            shutil.rmtree(self.root / identity, ignore_errors=True)

    def there(self) -> list[str]:
        """Ids of the jobs that have a folder."""
        if self.root is None or not self.root.is_dir():
            return []
        with contextlib.suppress(OSError):
            self.root.chmod(0o700)  # earlier versions left it open to look at
        return [entry.name for entry in os.scandir(self.root)]


def make_private(folder: Path) -> None:
    """Have a folder there, and those above it, each made for this user alone.

    Raises:
        OSError: it cannot be made.
    """
    # mkdir's own parents=True gives the mode to the last one only.
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


def write_atomically(file: Path, content: bytes | memoryview) -> None:
    """Write a file of which there is all or nothing, also after a power cut.

    Raises:
        StoreFullError: there is no room; nothing of it is left.
        JobStoreError: it cannot be written for another reason.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        make_private(file.parent)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
        sync_folder(file.parent)
        sync_folder(file.parent.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if error.errno in _NO_ROOM:
            raise StoreFullError(f"there is no room left on the disk of {file.parent}: make some") from error
        raise JobStoreError(f"{file} cannot be written: {error.strerror}") from error
