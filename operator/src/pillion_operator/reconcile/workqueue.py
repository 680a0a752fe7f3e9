"""The queue between what changed and the workers that set it right.

A key stands in it once however often it is added; it is never worked on by two workers at a time; a key added while
it is worked on comes back afterwards; a failing key comes back ever later. Semantics as in Kubernetes'
client-go (util/workqueue).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K", bound="Hashable")

__all__ = ["Workqueue", "backoff"]


def backoff(failures: int, *, first: float = 0.1, most: float = 60.0) -> float:
    """Return the seconds to wait after that many failures in a row: doubling from `first`, never above `most`."""
    return float(min(most, first * 2 ** min(failures - 1, 30)))


class Workqueue(Generic[K]):
    """Keys that wait for a worker, in the order of their arrival."""

    def __init__(self, clock: Callable[[], float], delay: Callable[[int], float] = backoff) -> None:
        self._clock = clock
        self._delay = delay
        self._ready: OrderedDict[K, float] = OrderedDict()
        self._working: set[K] = set()
        self._again: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._tickets = itertools.count()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """Return the number of keys that a worker could take now."""
        return len(self._ready)

    @property
    def in_work(self) -> int:
        """The number of keys that workers hold."""
        return len(self._working)

    @property
    def oldest_wait(self) -> float:
        """Seconds that the first key in the queue has waited for a worker."""
        return self._clock() - next(iter(self._ready.values())) if self._ready else 0.0

    def add(self, key: K) -> None:
        """Have the key worked on as soon as a worker is free."""
        if key in self._working:
            self._again.setdefault(key, self._clock())
        elif key not in self._ready:
            self._ready[key] = self._clock()
            self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key worked on later; of several such wishes the earliest counts.

        A wish lives until the key is next taken for work, for whatever reason: whoever works on it sees the whole of
        it, and says anew when to look again.
        """
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._later, (due, next(self._tickets), key))
            self._changed.set()

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """Have a key that failed worked on again, ever later as it keeps failing; return the seconds until then."""
        self._failures[key] = self._failures.get(key, 0) + 1
        seconds = max(self._delay(self._failures[key]), at_least)
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """Count the key as healthy: the next failure waits briefly again."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Return how many times in a row the key has failed."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """Wait for a key and take it; `done` must follow."""
        while True:
            self._release_due()
            if self._ready:
                key, _ = self._ready.popitem(last=False)
                self._working.add(key)
                self._due.pop(key, None)
                self._idle.clear()
                return key
            self._changed.clear()
            timeout = max(0.0, self._later[0][0] - self._clock()) if self._later else None
            try:
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """Give the key back; it is worked on once more where it was added meanwhile."""
        self._working.discard(key)
        if not self._working:
            self._idle.set()
        since = self._again.pop(key, None)
        if since is not None:
            self._ready[key] = since
            self._changed.set()

    async def idle(self) -> None:
        """Wait until no worker holds a key."""
        await self._idle.wait()

    def _release_due(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            # An entry that was overtaken by an earlier wish for the same key, or by work on it, is void.
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
