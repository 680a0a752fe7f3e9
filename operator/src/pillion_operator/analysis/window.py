"""What pods have answered within a window, from counters that only grow. Pure: times and counts in, figures out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Figures", "RequestCounts", "Window"]

#: How many looks a window is divided into: more would only cost memory.
_LOOKS: Final = 60


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """What one pod has counted since it started.

    Attributes:
        failed: requests that ended with an error of the server's.
        buckets: requests by how long they took: for each upper bound in seconds how many were not longer.
    """

    requests: float = 0.0
    failed: float = 0.0
    buckets: Mapping[float, float] = field(default_factory=dict)

    def since(self, before: RequestCounts) -> RequestCounts:
        """Return what was counted since; all of it where the counters began anew."""
        buckets = {bound: count - before.buckets.get(bound, 0.0) for bound, count in self.buckets.items()}
        grown = RequestCounts(self.requests - before.requests, self.failed - before.failed, buckets)
        return self if min(grown.requests, grown.failed, *buckets.values()) < 0 else grown

    def plus(self, more: RequestCounts) -> RequestCounts:
        """Return both together."""
        bounds = {**self.buckets, **more.buckets}
        buckets = {bound: self.buckets.get(bound, 0.0) + more.buckets.get(bound, 0.0) for bound in bounds}
        return RequestCounts(self.requests + more.requests, self.failed + more.failed, buckets)


@dataclass(frozen=True, slots=True)
class Figures:
    """What several pods have answered within a window."""

    requests: float = 0.0
    failed: float = 0.0
    buckets: Mapping[float, float] = field(default_factory=dict)

    @property
    def error_rate(self) -> float:
        """The share of failed requests."""
        return self.failed / self.requests if self.requests else 0.0

    @property
    def timed(self) -> float:
        """How many requests there are times of."""
        return max(self.buckets.values(), default=0.0)

    def slower(self, seconds: float) -> float:
        """Return how many took longer for certain: the bound is rounded up to the next that pods count by."""
        bound = min((one for one in self.buckets if one >= seconds), default=float("inf"))
        return self.timed - self.buckets.get(bound, self.timed)

    def quantile(self, share: float) -> float | None:
        """Return the upper bound in seconds that this share of the requests keeps; None where there are none."""
        found = (bound for bound, count in sorted(self.buckets.items()) if count >= share * self.timed)
        return next(found, None) if self.timed else None


class Window:
    """What a set of pods counted, for so many seconds back."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._looks: deque[tuple[float, Mapping[str, RequestCounts]]] = deque()
        self._last: tuple[float, Mapping[str, RequestCounts]] | None = None
        self._pods: dict[str, tuple[RequestCounts, RequestCounts]] = {}
        """What each pod counted when it was looked at last, and all that it has been seen to count."""

    def look(self, now: float, counts: Mapping[str, RequestCounts]) -> None:
        """Take note of what pods count now; one that did not answer is left out."""
        counts = {pod: self._grown(pod, told) for pod, told in counts.items()}
        self._last = (now, counts)
        if not self._looks or now - self._looks[-1][0] >= self._seconds / _LOOKS:
            self._looks.append((now, counts))
        # The last one before the window begins is what the window is counted from.
        while len(self._looks) > 1 and self._looks[1][0] <= now - self._seconds:
            self._looks.popleft()
        seen = counts.keys() | {pod for _, others in self._looks for pod in others}
        self._pods = {pod: known for pod, known in self._pods.items() if pod in seen}

    def figures(self) -> Figures:
        """Return what was counted within the window."""
        if self._last is None:
            return Figures()
        began: dict[str, RequestCounts] = {}
        for _, counts in self._looks:
            for pod, known in counts.items():
                began.setdefault(pod, known)
        return _sum(counts.since(began.get(pod, counts)) for pod, counts in self._last[1].items())

    def _grown(self, pod: str, told: RequestCounts) -> RequestCounts:
        """Return all that the pod has been seen to count: a container that starts again in it counts from zero."""
        known = self._pods.get(pod)
        grown = told if known is None else known[1].plus(told.since(known[0]))
        self._pods[pod] = (told, grown)
        return grown


def _sum(all_counts: Iterable[RequestCounts]) -> Figures:
    requests = failed = 0.0
    buckets: dict[float, float] = {}
    for counts in all_counts:
        requests += counts.requests
        failed += counts.failed
        for bound, count in counts.buckets.items():
            buckets[bound] = buckets.get(bound, 0.0) + count
    return Figures(requests, failed, buckets)
