"""What a file system refuses, as errors that say what to do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pillion.errors import ErrorCode, PillionError
from pillion.storage.errors import Reason
from pillion.storage.place import disk_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["disk_errors"]


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Raise what goes wrong with a folder as an error of ours.

    Raises:
        PillionError: ``STORAGE_FULL``, ``INTERNAL``.
    """
    try:
        yield
    except OSError as error:
        found = disk_error(error, folder)
        code = ErrorCode.STORAGE_FULL if found.reason is Reason.DISK_FULL else ErrorCode.INTERNAL
        raise PillionError(code, found.message, remedy=found.remedy) from error
