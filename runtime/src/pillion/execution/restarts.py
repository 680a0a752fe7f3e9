"""When a worker process that has died is started again. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["delay"]

_FIRST: Final = 0.1
_LONGEST: Final = 15.0


def delay(failures: int) -> float:
    """Seconds to wait before the next start, after ``failures`` in a row that came to nothing.

    A worker that has answered a call since it was started ends such a row: it is replaced at once, however often that
    happens. One that cannot be started, or dies before its first answer, is given twice the time of the last attempt.
    """
    if failures <= 0:
        return 0.0
    exponent = min(failures - 1, 16)
    seconds: float = _FIRST * 2**exponent
    return min(_LONGEST, seconds)
