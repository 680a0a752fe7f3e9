"""Telling a queue that takes up a burst from one that stands, and keeping the latter short.

A queue is good for bursts: it is empty again soon, and nobody was turned away. Where more is asked for than can be done
it never empties; every request then waits for the whole queue, and none is served that would not have been served
without it. So such a queue is kept short: new requests are only let in if they will not wait for long, until what is
asked for can be done again. As many are served as before, each of them soon. (The idea is that of CoDel, RFC 8289,
with the expected wait in place of the measured one.)

Callers that wait for an answer before they ask again, more of them than there are slots, make a queue that stands and
does no harm. It never overflows where it has room for all of them, and that tells the two apart (``FULL``), at the
cost of one queue of requests that wait long. Who has callers that do not wait for each other may have a queue count as
standing as soon as it has not been empty for a while (``STANDING``).

Callers that try again at once when they are turned away cannot be told from more of them. So it is not the default, and
every now and then a queue may be long again for a try.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pillion.dataplane.rate import ServiceRate

__all__ = ["ShedWhen", "Shedding"]

_PATIENCE_SECONDS: Final = 0.02
_PATIENCE_CALLS: Final = 10
_TARGET_SECONDS: Final = 0.002
_TARGET_CALLS: Final = 1
"""Calls that have to end before that of a request begins."""
_FIRST_TRY: Final = 10.0
_LAST_TRY: Final = 60.0
"""Seconds after which a queue may be long again, whatever is asked for; twice as many after each try that failed."""
_SPARE: Final = 0.95
"""Share of the model's time below which what is asked for can be done."""


@unique
class ShedWhen(StrEnum):
    """When a queue counts as standing."""

    NEVER = "never"
    FULL = "full"
    """Once it was full."""
    STANDING = "standing"
    """Once it was full, or has not been empty for a while."""


class Shedding:
    """Watches the queue of one model. Times are monotonic seconds.

    Args:
        early: whether a queue is kept short before it was full.
    """

    __slots__ = ("_early", "_finished", "_refused", "_since", "_try_after", "_try_at", "_window", "active")

    def __init__(self, *, early: bool) -> None:
        self._early = early
        self.active = False
        """Whether the queue is being kept short."""
        self._since = 0.0
        """When it was empty last, as far as it was looked at."""
        self._window = self._try_at = 0.0
        self._try_after = _FIRST_TRY
        self._finished = self._refused = 0

    def overflowed(self, now: float, rate: ServiceRate) -> None:
        """The queue was full, and a request is turned away."""
        if not self.active:
            self._start(now, rate)
        self._refused += 1

    def turns_away(self, now: float, queued: int, ahead: int, rate: ServiceRate, capacity: int) -> bool:
        """Whether a request that would have to wait is turned away instead.

        Args:
            now: the time.
            queued: requests that wait already.
            ahead: those of them that would be served before it.
            rate: of the model.
            capacity: calls at a time.
        """
        patience = max(_PATIENCE_SECONDS, _PATIENCE_CALLS * rate.call)
        if not queued:
            self._since = now
        if not self.active:
            if not self._early or now - self._since < patience:
                return False
            self._start(now, rate)
        elif now >= self._try_at:
            self._end(now)
            return False
        elif now - self._window >= patience:
            asked = (rate.requests - self._finished + self._refused) * rate.seconds / capacity
            if asked < _SPARE * (now - self._window):
                self._try_after = _FIRST_TRY
                self._end(now)
                return False
            self._begin(now, rate)
        if rate.wait(ahead + 1, capacity) <= max(_TARGET_SECONDS, _TARGET_CALLS * rate.call / capacity):
            return False
        self._refused += 1
        return True

    def _start(self, now: float, rate: ServiceRate) -> None:
        self.active = True
        self._try_at = now + self._try_after
        self._try_after = min(_LAST_TRY, 2 * self._try_after)
        self._begin(now, rate)

    def _end(self, now: float) -> None:
        self.active = False
        self._since = now

    def _begin(self, now: float, rate: ServiceRate) -> None:
        """From here on is counted what is asked for."""
        self._window = now
        self._finished = rate.requests
        self._refused = 0
