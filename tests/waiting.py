"""Waiting for conditions with a deadline, never for a length of time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["WITHIN", "until", "until_now"]

_Value = TypeVar("_Value")
WITHIN: Final = 120.0
"""Seconds that anything may take. Nothing takes as long but on a machine that is busy with something else; some things
are looked at by a program once a minute only."""
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.03
_PART: Final = 20
"""The part of the time gone by that a pause may take: what takes long is not known to the hundredth of a second."""
_LONGEST_PAUSE_OF_ALL: Final = 0.2


async def until(look: Callable[[], _Value], seconds: float = WITHIN) -> _Value:
    """Let the event loop run until what ``look`` gives is true; that value.

    Raises:
        AssertionError: it was not within ``seconds``; the text has the last look.
    """
    for pause in _pauses(seconds):
        found = look()
        if found:
            return found
        await asyncio.sleep(pause)
    raise AssertionError(f"not within {seconds:g} s; the last look gave {found!r}")


def until_now(look: Callable[[], _Value], seconds: float = WITHIN, pause: float | None = None) -> _Value:
    """The same for code without an event loop; ``pause`` is the time between two looks, where that matters."""
    for after in _pauses(seconds):
        found = look()
        if found:
            return found
        time.sleep(after if pause is None else pause)
    raise AssertionError(f"not within {seconds:g} s; the last look gave {found!r}")


def _pauses(seconds: float) -> Iterator[float]:
    """Between two looks: short at first, and longer for what takes its time, whose processor the looks would take. The
    last look begins when the time is up, however long the pause before it took.
    """
    began, pause, last = time.monotonic(), _FIRST_PAUSE, False
    while not last:
        gone_by = time.monotonic() - began
        last = gone_by >= seconds
        yield pause
        longest = min(max(_LONGEST_PAUSE, gone_by / _PART), _LONGEST_PAUSE_OF_ALL)
        pause = min(pause * 1.2, longest)
