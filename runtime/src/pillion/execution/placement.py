"""Whether a model's calls run on the event loop or in threads, decided from measurements.

A call on the loop saves the hop to a thread and back (some 30 us) and stops everything else meanwhile. So only calls
that are short, and stay short, run there. A model measured as quick whose call once takes longer than
``demote_seconds`` moves to threads at once; there it is watched, and if a run of calls is quick again it may return.
Each relapse doubles the number of calls it has to prove itself over, up to a ceiling that grows with how slow the call
was: on a busy node a process loses the processor for 20 ms now and then, and that must not cost a quick model much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum, unique
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["InlineLimits", "Measured", "Placement", "Watch", "place"]


_MILD_CEILING: Final = 4
_MOST_RELAPSES: Final = 20


@unique
class Placement(StrEnum):
    """Where calls run."""

    INLINE = "inline"
    THREAD = "thread"


@dataclass(frozen=True, slots=True)
class InlineLimits:
    """How quick a call must be to run on the event loop. Seconds."""

    median_seconds: float = 150e-6
    tail_seconds: float = 2e-3
    demote_seconds: float = 10e-3
    proof_calls: int = 256


@dataclass(frozen=True, slots=True)
class Measured:
    """How long one call took. Seconds."""

    cpu: float
    """Processor time of the thread that made the call."""
    elapsed: float


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
    """Follows one model's calls and says when they should run elsewhere."""

    __slots__ = ("_calls", "_limits", "_needed", "_relapses", "placement")

    def __init__(self, placement: Placement, limits: InlineLimits) -> None:
        self.placement = placement
        self._limits = limits
        self._needed = limits.proof_calls
        self._relapses = 0
        self._calls: list[Measured] = []

    def slow(self, seconds: float) -> bool:
        """Take note of a call on the loop; True when the model has to move to threads now."""
        if seconds <= self._limits.demote_seconds:
            return False
        self.placement = Placement.THREAD
        ceiling = max(_MILD_CEILING, int(seconds / self._limits.demote_seconds))
        self._needed = self._limits.proof_calls * min(2**self._relapses, ceiling)
        self._relapses = min(self._relapses + 1, _MOST_RELAPSES)
        self._calls.clear()
        return True

    def proven(self, call: Measured) -> bool:
        """Take note of a call in a thread; True when the model may move to the loop now."""
        self._calls.append(call)
        if len(self._calls) < self._needed:
            return False
        self.placement = place(self._calls, self._limits)
        self._calls.clear()
        return self.placement is Placement.INLINE
