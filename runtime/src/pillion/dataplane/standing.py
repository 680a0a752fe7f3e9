"""Telling a queue that takes up a burst from one that stands.

A queue is good for bursts: it is empty again soon, and nobody was turned away. Where more is asked than can be done it
never empties; every request then waits for the whole queue, and none is served that would not have been served without
it. So a queue that has not been empty for a while is kept short: as long as it is, new requests are only let in if they
will not wait longer than a call takes. (The idea is that of CoDel, RFC 8289, with the expected wait in place of the
measured one.)

It is for callers that go elsewhere when they are refused. Callers that wait for an answer before they ask again, more
of them than there are slots, make a queue that stands and does no harm.
"""

from __future__ import annotations

from typing import Final

__all__ = ["StandingQueue"]

_PATIENCE_SECONDS: Final = 0.1
_PATIENCE_CALLS: Final = 10
_SHORTEST_TARGET: Final = 0.002


class StandingQueue:
    """Watches the queue of one model. Times are monotonic seconds."""

    __slots__ = ("_since", "_until")

    def __init__(self) -> None:
        self._since = 0.0
        self._until = float("-inf")

    def turns_away(self, now: float, queued: int, expected: float, call_seconds: float) -> bool:
        """Whether a request that would wait is turned away instead, so that the queue gets short.

        Args:
            now: the time.
            queued: requests that wait already.
            expected: seconds that it would wait.
            call_seconds: what a call takes.
        """
        patience = max(_PATIENCE_SECONDS, _PATIENCE_CALLS * call_seconds)
        if not queued:
            self._since = now
        if now >= self._until and now - self._since < patience:
            return False
        if expected <= max(_SHORTEST_TARGET, call_seconds):
            return False
        # One that is short because others were turned away has not passed: that takes a while without a refusal.
        self._until = now + patience
        return True
