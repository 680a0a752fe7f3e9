"""Folders that several processes have files in: each stays as long as one of them needs it.

Front workers follow one file of declared models, each in its own time, and share what was fetched. A folder is locked
by those who use it; who needs it no more removes it only where nobody else has it. The lock is the kernel's, so it
ends with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

from pillion.storage.place import make_directory

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["SharedPlaces"]


class SharedPlaces:
    """Those below one folder, as one process has them.

    Args:
        folder: it and the places are made when they are needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}

    def files(self, name: str) -> Path:
        """Where the files of a place are."""
        return self._folder / name / "files"

    def hold(self, name: str) -> None:
        """Keep a place from being removed; blocks while somebody removes it.

        Raises:
            OSError: it cannot be made.
        """
        path = self._folder / name
        while name not in self._held:
            make_directory(path)
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            with contextlib.suppress(OSError):  # a file system without locks: pods have theirs to themselves
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _is_at(descriptor, path):
                self._held[name] = descriptor
            else:
                os.close(descriptor)  # removed before we had it

    def leave(self, name: str) -> None:
        """Need a place no more: it is removed, unless somebody else has it."""
        descriptor = self._held.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)
        self._remove(name)

    def sweep(self, kept: Collection[str]) -> None:
        """Remove what nobody has: a process before this one may have died on its way.

        Args:
            kept: what is to stay all the same.
        """
        if not self._folder.is_dir():
            return
        for found in self._folder.iterdir():
            if found.name not in kept and found.name not in self._held and found.is_dir() and not found.is_symlink():
                self._remove(found.name)

    def close(self) -> None:
        """Let go of all places without removing any."""
        while self._held:
            os.close(self._held.popitem()[1])

    def _remove(self, name: str) -> None:
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if _is_free(descriptor) and _is_at(descriptor, path):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks, see above
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
