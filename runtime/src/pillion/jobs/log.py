"""Text that a job writes, in segments named by the place of their first byte, the oldest of which go.

So a log has a bound, and a place in it means the same for ever: whoever follows it goes on where they were, also after
the server has been started again.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Final

from pillion.jobs.folders import make_private

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["JobLog", "read_log", "read_whole"]

_log: Final = logging.getLogger(__name__)
_SEGMENTS: Final = 4
_READ: Final = 256 * 1024


class JobLog:
    """One writer.

    Args:
        folder: of the job.
        name: of the log.
        most: bytes that are kept, about.
    """

    def __init__(self, folder: Path, name: str, most: int) -> None:
        self._folder = folder
        self._name = name
        self._segment = max(1024, most // _SEGMENTS)
        self._failed = False
        there = _segments(folder, name)
        self._start, self._size = (there[-1][0], there[-1][1].stat().st_size) if there else (0, 0)
        self._out = self._opened(self._start)

    def append(self, text: bytes) -> None:
        """Add to it. A full disk costs the text, and is said once in the server's log."""
        try:
            if self._size >= self._segment:
                self._next_segment()
                for _, old in _segments(self._folder, self._name)[:-_SEGMENTS]:
                    old.unlink(missing_ok=True)
            self._out.write(text)
            self._size = self._out.size()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._size = self._out.size()  # some of it may be there
            if not self._failed:
                self._failed = True
                _log.error("%s: a job's %s cannot be kept: %s", self._folder, self._name, error.strerror)

    def _next_segment(self) -> None:
        start = self._start + self._size
        # Opened first: without room for it the one before is written on, rather than a descriptor that is closed.
        following = self._opened(start)
        self._out.close()
        self._out, self._start, self._size = following, start, 0

    def close(self) -> None:
        """Nothing more comes."""
        with contextlib.suppress(OSError):
            self._out.close()

    def _opened(self, start: int) -> _Out:
        return _Out(self._folder / f"{self._name}.{start:016d}")


class _Out:
    """A file that is appended to without a buffer."""

    def __init__(self, file: Path) -> None:
        make_private(file.parent)
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, text: bytes) -> None:
        written = 0
        while written < len(text):
            written += os.write(self._descriptor, text[written:])

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        os.close(self._descriptor)


def read_log(folder: Path, name: str, place: int, most: int = _READ) -> tuple[bytes, int]:
    """What there is from a place on, at most ``most`` bytes, and the place behind it; what is gone is passed over."""
    for start, file in _segments(folder, name):
        with contextlib.suppress(FileNotFoundError):  # it went in the very moment
            size = file.stat().st_size
            if start + size <= place:
                continue
            begin = max(place, start)
            with file.open("rb") as segment:
                segment.seek(begin - start)
                text = segment.read(most)
            return text, begin + len(text)
    return b"", place


def read_whole(folder: Path, name: str, place: int = 0) -> bytes:
    """All that there is from a place on: what a log keeps is bounded."""
    parts: list[bytes] = []
    while True:
        text, place = read_log(folder, name, place)
        if not text:
            return b"".join(parts)
        parts.append(text)


def _segments(folder: Path, name: str) -> list[tuple[int, Path]]:
    found = ((entry.name.removeprefix(f"{name}."), entry) for entry in folder.glob(f"{name}.*"))
    return sorted((int(digits), entry) for digits, entry in found if digits.isdigit())
