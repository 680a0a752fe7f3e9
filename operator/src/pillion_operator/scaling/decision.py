"""The operator's own autoscaler: from what pods count to how many there should be. No I/O, no clock of its own.

The load of a minute decides (the stable window). Where the load of its last six seconds (the panic window) would need
twice the pods that there are, that decides, and nothing is taken away until a minute without such a load has gone by.
Pods that do not answer are taken for idle where their load would add pods, and for busy where it would remove some.
Source of the windows: Knative's autoscaler; of missing pods, rates and stabilization: autoscaling/v2.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pillion.resources.autoscaling import PodMetric
    from pillion_operator.state.scaling import Behavior, Direction, PodScaling

__all__ = ["Decision", "PodLoad", "Scaler"]

_T = TypeVar("_T")
_STABLE_SECONDS: Final = 60.0
_PANIC_SECONDS: Final = 6.0
_PANIC_FACTOR: Final = 2.0
#: The longest that anything looks back: a window of stabilization.
_REMEMBERED_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class PodLoad:
    """What a pod counts.

    Attributes:
        in_progress: requests that it works on, or that wait in it, and open WebSockets.
        waiting: those of them that wait.
        finished: requests that have ended since its start.
        jobs: jobs that are to run or run, of this pod or of a store that it shares.
    """

    in_progress: float = 0.0
    waiting: float = 0.0
    finished: float = 0.0
    jobs: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """How many pods there should be, and by which figures.

    Attributes:
        count: of pods; None where nothing is known.
        load: the sum over the pods that decided.
        over: seconds that it is the mean of.
        told, silent: pods that decided, and that did not answer.
        limit: what kept the count from following the load, empty where nothing did.
    """

    count: int | None
    load: float = 0.0
    over: float = _STABLE_SECONDS
    told: int = 0
    silent: int = 0
    limit: str = ""


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    load: float
    told: int
    silent: int
    unreached: int


class Scaler:
    """What is remembered of one service."""

    def __init__(self) -> None:
        self._loads: dict[str, tuple[float, PodLoad]] = {}
        self._readings: deque[_Reading] = deque()
        self._recommended: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()
        self._count: int | None = None
        self._asked: int | None = None
        self._panic_until = -math.inf
        self._panic_count = 0

    def look(self, now: float, pods: Mapping[str, PodLoad | None], metric: PodMetric) -> None:
        """Take what ready pods, by their uid, count; None stands for one that did not answer."""
        values = [self._value(now, uid, load, metric.name) for uid, load in pods.items()]
        told = [value for value in values if value is not None]
        unreached = sum(load is None for load in pods.values())
        self._readings.append(_Reading(now, sum(told), len(told), len(values) - len(told), unreached))
        kept = {uid: (now, load) for uid, load in pods.items() if load is not None}
        self._loads = {uid: kept.get(uid) or self._loads[uid] for uid in pods if uid in kept or uid in self._loads}
        _drop(self._readings, lambda reading: reading.at <= now - _STABLE_SECONDS)

    def decide(self, now: float, current: int, scaling: PodScaling, least: int, most: int) -> Decision:
        """Return the number of pods that there should be, where `current` are asked for now."""
        self._notice(now, current)
        last = self._readings[-1] if self._readings else None
        if last is None or last.told == 0:
            return Decision(None, silent=0 if last is None else last.unreached)
        behavior, target = scaling.behavior, scaling.metric.target
        stable, panic = self._mean(now, _STABLE_SECONDS), self._mean(now, _PANIC_SECONDS)
        # What a pod did not tell is missing from the mean for as long as that look is part of it.
        silent = max(reading.silent for reading in self._readings)
        wanted, load, over = self._wanted(stable, target, current, silent, behavior), stable, _STABLE_SECONDS
        sudden = _pods(panic, target)
        if sudden >= _PANIC_FACTOR * current:
            if now >= self._panic_until:
                self._panic_count = current
            self._panic_until = now + _STABLE_SECONDS
        if now < self._panic_until:
            self._panic_count = max(self._panic_count, sudden)
            wanted, load, over = max(self._panic_count, current), panic, _PANIC_SECONDS
        count, limit = self._limited(now, current, wanted, behavior)
        bounded = min(max(count, least, 1), most)
        if bounded != count:
            limit = f"the limits of {max(least, 1)} and {most} pods"
        self._asked = bounded
        return Decision(bounded, load, over, last.told, last.unreached, limit)

    def _value(self, now: float, uid: str, load: PodLoad | None, metric: str) -> float | None:
        if load is None:
            return None
        if metric == "concurrency":
            return load.in_progress
        if metric == "queueDepth":
            return load.waiting
        before = self._loads.get(uid)
        if before is None or now <= before[0]:
            return None
        # A container that was started anew counts from zero.
        ended = load.finished - before[1].finished
        return (load.finished if ended < 0 else ended) / (now - before[0])

    def _mean(self, now: float, window: float) -> float:
        told = [reading.load for reading in self._readings if reading.at > now - window and reading.told]
        return sum(told) / len(told) if told else self._readings[-1].load

    @staticmethod
    def _wanted(load: float, target: float, current: int, silent: int, behavior: Behavior) -> int:
        ratio = load / (target * current)
        if 1.0 - behavior.down.tolerance <= ratio <= 1.0 + behavior.up.tolerance:
            return current
        wanted = _pods(load, target)
        if wanted >= current:
            return wanted
        return min(current, _pods(load + silent * target, target))

    def _limited(self, now: float, current: int, wanted: int, behavior: Behavior) -> tuple[int, str]:
        """Hold to the windows of stabilization and to the rates; say which of them changed anything."""
        if not self._recommended:
            # Who looks for the first time does not know what was needed before: what there is counts as that.
            self._recommended.append((now, current))
        self._recommended.append((now, wanted))
        _drop(self._recommended, lambda entry: entry[0] <= now - _REMEMBERED_SECONDS)
        up, down = behavior.up, behavior.down
        highest = max(self._recent(now, down.window))
        lowest = min(self._recent(now, up.window))
        if lowest > current:
            allowed = self._allowed(now, current, up, 1)
            count = min(lowest, max(allowed, current))
            return count, "" if count == wanted else _why(count == lowest, up)
        if highest < current:
            allowed = self._allowed(now, current, down, -1)
            count = max(highest, min(allowed, current))
            return count, "" if count == wanted else _why(count == highest, down)
        if wanted == current:
            return current, ""
        return current, _why(True, up if wanted > current else down)

    def _recent(self, now: float, window: float) -> Iterable[int]:
        return [wanted for at, wanted in self._recommended if at > now - window] or [self._recommended[-1][1]]

    def _allowed(self, now: float, current: int, direction: Direction, sign: int) -> int:
        """Return the furthest count that the rates allow."""
        if direction.select == "Disabled":
            return current
        bounds = []
        for rate in direction.rates:
            start = current - sum(change for at, change in self._changes if at > now - rate.period)
            step = rate.value if rate.kind == "Pods" else start * rate.value / 100
            bounds.append(math.ceil(start + step) if sign > 0 else math.floor(start - step))
        furthest = (max if (sign > 0) == (direction.select == "Max") else min)(bounds)
        return max(furthest, 0)

    def _notice(self, now: float, current: int) -> None:
        """Remember a change that was decided here: by how much others change the count is not held to the rates."""
        if self._count is not None and current != self._count and current == self._asked:
            self._changes.append((now, current - self._count))
        self._count = current
        _drop(self._changes, lambda change: change[0] <= now - _REMEMBERED_SECONDS)


def _pods(load: float, target: float) -> int:
    # Sums of fractions miss whole numbers by a hair.
    return math.ceil(load / target - 1e-9)


def _why(by_window: bool, direction: Direction) -> str:  # noqa: FBT001 - private, and named where it is called
    if by_window:
        return f"the last {direction.window:g} s, which are to agree"
    return "the rate" if direction.select != "Disabled" else "selectPolicy Disabled"


def _drop(entries: deque[_T], old: Callable[[_T], bool]) -> None:
    while entries and old(entries[0]):
        entries.popleft()
