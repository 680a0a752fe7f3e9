"""Whether the terminal that a program was started in is still there.

SIGHUP means two things: a terminal was closed, so what was started in it is to end; and, by convention, that a daemon
is to read its files again.
"""

from __future__ import annotations

import os

__all__ = ["Terminal"]


class Terminal:
    """The controlling terminal of this process, as it is now."""

    def __init__(self) -> None:
        self._had_one = _opens()

    def gone(self) -> bool:
        """Whether there was one, and is none any more."""
        return self._had_one and not _opens()


def _opens() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
