"""How busy services are, from what their pods counted at two moments. Pure: values in, values out."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from pillion.podload import ALWAYS, FINISHED, RUNNING, SAMPLE, TIMES, WAITING, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Load", "Reading", "load_between", "reading_of"]

_BUCKETS: Final = tuple(f"{name}_bucket" for name in TIMES)
_BOUND: Final = re.compile(r'(?:^|,)le="([^"]+)"')
_SHARE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Reading:
    """What one pod had counted at one moment.

    Attributes:
        running, waiting: requests, now.
        finished: requests, since its start.
        times: how many of them took so many seconds at most, by the upper bound.
        at: seconds on a clock that only goes on.
    """

    running: float
    waiting: float
    finished: float
    times: Mapping[float, float]
    at: float


@dataclass(frozen=True, slots=True)
class Load:
    """How busy pods are together.

    Attributes:
        in_flight, queue: requests that run and that wait.
        rps: requests that ended in a second.
        p95_seconds: how long the fastest 95 % of them took at most; None where none ended.
    """

    in_flight: int
    queue: int
    rps: float
    p95_seconds: float | None


def reading_of(text: str, at: float) -> Reading | None:
    """Read a runtime's metrics; None where they are not a runtime's."""
    sums: defaultdict[str, float] = defaultdict(float)
    times: defaultdict[float, float] = defaultdict(float)
    ours = False
    for line in text.splitlines():
        found = SAMPLE.match(line)
        value = value_of(found["value"]) if found else None
        if found is None or value is None:
            continue
        ours = ours or found["name"] == ALWAYS
        if found["name"] in _BUCKETS:
            bound = _BOUND.search(found["labels"] or "")
            upper = None if bound is None else _bound_of(bound[1])
            if upper is not None:
                times[upper] += value
        else:
            sums[found["name"]] += value
    if not ours:
        return None
    return Reading(_of(RUNNING, sums), _of(WAITING, sums), _of(FINISHED, sums), dict(times), at)


def load_between(readings: Sequence[tuple[Reading, Reading]]) -> Load:
    """The load of pods by an earlier and a later reading of each. A pod that has started anew counts from nothing."""
    rate, times = 0.0, defaultdict[float, float](float)
    for before, after in readings:
        restarted = after.finished < before.finished
        rate += (after.finished - (0.0 if restarted else before.finished)) / max(after.at - before.at, 1e-6)
        for bound, count in after.times.items():
            times[bound] += count - (0.0 if restarted else before.times.get(bound, 0.0))
    return Load(
        in_flight=round(sum(after.running for _, after in readings)),
        queue=round(sum(after.waiting for _, after in readings)),
        rps=rate,
        p95_seconds=_quantile(_SHARE, times),
    )


def _bound_of(said: str) -> float | None:
    return math.inf if said == "+Inf" else value_of(said)


def _of(names: Iterable[str], sums: Mapping[str, float]) -> float:
    return sum(sums.get(name, 0.0) for name in names)


def _quantile(share: float, times: Mapping[float, float]) -> float | None:
    """Between the bounds of the bucket that it falls into, evenly; as Prometheus' `histogram_quantile`."""
    bounds = sorted(times.items())
    if not bounds or bounds[-1][1] <= 0:
        return None
    rank = share * bounds[-1][1]
    for (lower, below), (upper, count) in pairwise([(0.0, 0.0), *bounds]):
        if count >= rank:
            # Of what took longer than the last bound, no more is known.
            return lower if math.isinf(upper) else lower + (upper - lower) * (rank - below) / max(count - below, 1e-9)
    return None
