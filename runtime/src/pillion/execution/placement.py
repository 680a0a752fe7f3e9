"""Whether a model's calls run on the event loop or in threads, decided from measurements.

A call on the loop saves the hop to a thread and back (some 30 us) and stops everything else meanwhile. So only calls
that are short, and stay short, run there. One call that computes for longer than ``demote_seconds`` moves its model to
threads. A call that merely *took* longer may have lost the processor to a neighbour or to a CPU quota, which happens to
any process on a busy node, or may wait for something itself: three of those among a hundred calls move the model too.
In threads a model is watched, and if a run of calls is quick it moves (back) to the loop; each relapse doubles the
number of calls it has to prove itself over, up to a ceiling that grows with how slow the call was.
"""

from __future__ import annotations

import math
import time
from collections import deque
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["InlineLimits", "Measured", "Placement", "Watch", "median", "place"]


_READ_EVERY: Final = 16
_STRIKES: Final = 3
_AMONG: Final = 100
_MILD_CEILING: Final = 4
_MOST_RELAPSES: Final = 20


@unique
class Placement(StrEnum):
    """Where calls run."""

    INLINE = "inline"
    THREAD = "thread"


class InlineLimits(msgspec.Struct, frozen=True):
    """How quick a call must be to run on the event loop. Seconds."""

    median_seconds: float = 150e-6
    tail_seconds: float = 2e-3
    demote_seconds: float = 10e-3
    proof_calls: int = 256


class Measured(msgspec.Struct, frozen=True):
    """How long one call took. Seconds."""

    cpu: float
    """Processor time of the thread that made the call."""
    elapsed: float


def median(values: Iterable[float]) -> float:
    """The middle value, the upper one of two. The standard library's imports fractions and decimals for it."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def place(calls: Sequence[Measured], limits: InlineLimits) -> Placement:
    """Decide from measured calls; no measurement means threads.

    Processor time decides, since on a busy machine elapsed time is mostly waiting for the processor or the
    interpreter lock. Elapsed time only keeps out models that wait for something themselves.
    """
    if not calls:
        return Placement.THREAD
    cpu = sorted(call.cpu for call in calls)
    tail = cpu[max(0, math.ceil(len(cpu) * 0.99) - 1)]
    quick = (
        median(cpu) <= limits.median_seconds
        and tail <= limits.tail_seconds
        and median(call.elapsed for call in calls) <= limits.demote_seconds
    )
    return Placement.INLINE if quick else Placement.THREAD


class Watch:
    """Follows one model's calls and says when they should run elsewhere. Event loop's thread only."""

    __slots__ = (
        "_baseline", "_calls", "_count", "_cpu_clock", "_limits", "_needed", "_relapses", "_strikes", "placement",
    )  # fmt: skip

    def __init__(
        self, placement: Placement, limits: InlineLimits, cpu_clock: Callable[[], float] = time.thread_time
    ) -> None:
        self.placement = placement
        self._limits = limits
        self._needed = limits.proof_calls
        self._relapses = 0
        self._calls: list[Measured] = []
        self._cpu_clock = cpu_clock
        self._baseline: float | None = None
        self._count = 0
        self._strikes: deque[int] = deque(maxlen=_STRIKES)

    def slow(self, elapsed: float) -> bool:
        """Take note of a call on the loop that took ``elapsed`` seconds; True when the model has to move to threads.

        Reading the processor clock costs a system call, so it is read once in a few calls and after a slow one: the
        difference bounds what the slow call can have computed.
        """
        self._count += 1
        if elapsed <= self._limits.demote_seconds:
            if self._baseline is None or self._count % _READ_EVERY == 0:
                self._baseline = self._cpu_clock()
            return False
        baseline, self._baseline = self._baseline, self._cpu_clock()
        if baseline is not None and self._baseline - baseline < self._limits.demote_seconds:
            self._strikes.append(self._count)
            if len(self._strikes) < _STRIKES or self._count - self._strikes[0] > _AMONG:
                return False
        self._demote(elapsed)
        return True

    def _demote(self, elapsed: float) -> None:
        self.placement = Placement.THREAD
        ceiling = max(_MILD_CEILING, int(elapsed / self._limits.demote_seconds))
        self._needed = self._limits.proof_calls * min(2**self._relapses, ceiling)
        self._relapses = min(self._relapses + 1, _MOST_RELAPSES)
        self._calls.clear()
        self._strikes.clear()
        self._baseline = None

    def proven(self, call: Measured) -> bool:
        """Take note of a call in a thread; True when the model may move to the loop now."""
        self._calls.append(call)
        if len(self._calls) < self._needed:
            return False
        self.placement = place(self._calls, self._limits)
        self._calls.clear()
        return self.placement is Placement.INLINE
