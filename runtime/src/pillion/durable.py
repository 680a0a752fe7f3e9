"""Having files on disk, not only in the kernel's memory: what is promised must outlive a power cut."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["sync_folder", "sync_tree"]


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Have everything below a folder on disk.

    Raises:
        OSError: a symbolic link among the files (it would lead elsewhere), or a disk that fails.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(parent) / name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(parent))
