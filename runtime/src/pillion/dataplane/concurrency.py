"""Finding out how many calls a model does well at a time, where nobody knows.

More calls at a time are faster until something inside the model is used up: processors, a lock, a connection to
something else. From there on each call only waits for the others, inside the model, where no queue can be kept short
and no deadline be seen. So the time of calls tells: while it stays near what a call takes alone, one more call at a
time is tried; once calls take noticeably longer, fewer are let in.

What a call takes alone is measured by the first calls, which run one at a time, and again whenever they do. A model
that has become slower for good is let fewer and fewer calls until they run alone, is measured anew, and grows again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.dataplane.rate import ServiceRate

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ConcurrencyLimit", "WatchedRate"]

_TOLERANCE: Final = 1.5
"""Calls may take so many times what they take alone."""
_FEWEST: Final = 5
"""Calls that a judgement is made of, and at least twice the limit."""
_LEAST: Final = 0.7
"""Share of the limit that a judgement leaves at least."""
_RENEWAL: Final = 0.5


class ConcurrencyLimit:
    """How many calls may run at a time, judged by how long they take.

    Args:
        most: never more than that.
    """

    __slots__ = ("_alone", "_calls", "_most", "_peak", "_searching", "_seconds", "_stale", "limit")

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = 1
        self._alone = 0.0
        """Seconds of a call that has the model for itself; 0 before that is known."""
        self._searching = True
        """Whether no limit was found yet: until then it doubles."""
        self._stale = 0
        """Calls to come that began under another limit: they tell nothing of this one."""
        self._calls = self._peak = 0
        self._seconds = 0.0

    def observe(self, seconds: float, running: int) -> int:
        """Take note of a call that has ended; gives the limit from now on.

        Args:
            seconds: how long it took.
            running: calls that ran when it ended, it included; those that begin in its place may be counted as well.
        """
        if self._stale:
            self._stale -= 1
            return self.limit
        self._calls += 1
        self._seconds += seconds
        self._peak = max(self._peak, running)
        if self._calls >= max(_FEWEST, 2 * self.limit):
            before = self.limit
            self._judge(self._seconds / self._calls)
            self._stale = 0 if before == self.limit else running
            self._begin()
        return self.limit

    def _begin(self) -> None:
        self._calls = self._peak = 0
        self._seconds = 0.0

    def _judge(self, mean: float) -> None:
        if self.limit == 1 or self._peak == 1:
            self._alone += (_RENEWAL if self._alone else 1.0) * (mean - self._alone)
        elif mean < self._alone:
            self._alone = mean
        most = _TOLERANCE * self._alone
        if mean > most:
            self._searching = False
            self.limit = max(1, min(self.limit - 1, int(self.limit * max(_LEAST, most / mean))))
        elif self._peak >= self.limit:  # it was used up: more may be tried
            self.limit = min(self._most, self.limit * 2 if self._searching else self.limit + 1)


class WatchedRate(ServiceRate):
    """The rate of a model whose limit is found out: each call that is noted is judged, too.

    Args:
        most: calls at a time, never more.
        running: calls that run now.
        changed: told the new limit.
    """

    __slots__ = ("_changed", "_limit", "_running")

    def __init__(self, most: int, running: Callable[[], int], changed: Callable[[int], None]) -> None:
        super().__init__()
        self._limit = ConcurrencyLimit(most)
        self._running = running
        self._changed = changed

    def add(self, seconds: float) -> None:
        """See :meth:`ServiceRate.add`."""
        super().add(seconds)
        self.late(seconds)

    def late(self, seconds: float) -> None:
        """See :meth:`ServiceRate.late`."""
        before = self._limit.limit
        limit = self._limit.observe(seconds, self._running() + 1)
        if limit != before:
            self._changed(limit)

    @property
    def limit(self) -> int:
        """Calls that may run at a time."""
        return self._limit.limit
