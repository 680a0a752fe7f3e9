"""Whether a model's calls run on the event loop or in threads, decided from measurements.

A call on the loop saves the hop to a thread and back (some 30 us) and stops everything else meanwhile. So only calls
that are short, and stay short, run there. A model measured as quick whose call once takes longer than
``demote_seconds`` moves to threads at once; there it is watched, and if a run of calls is quick again it may return.
Each relapse doubles the number of calls it has to prove itself over, up to a ceiling that grows with how slow the call
was: on a busy node a process loses the processor for 20 ms now and then, and that must not cost a quick model much.
Processor time decides about the return, since elapsed time in a thread is mostly waiting for the interpreter lock;
elapsed time keeps models that sleep or wait out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["InlineLimits", "Placement", "Watch", "place"]


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


def place(durations: Sequence[float], limits: InlineLimits) -> Placement:
    """Decide from the durations (seconds) of warm-up calls; no measurement means threads."""
    if not durations:
        return Placement.THREAD
    ordered = sorted(durations)
    tail = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    quick = median(ordered) <= limits.median_seconds and tail <= limits.tail_seconds
    return Placement.INLINE if quick else Placement.THREAD


class Watch:
    """Follows one model's calls and says when they should run elsewhere."""

    __slots__ = ("_cpu", "_elapsed", "_limits", "_needed", "_relapses", "placement")

    def __init__(self, placement: Placement, limits: InlineLimits) -> None:
        self.placement = placement
        self._limits = limits
        self._needed = limits.proof_calls
        self._relapses = 0
        self._cpu: list[float] = []
        self._elapsed: list[float] = []

    def slow(self, seconds: float) -> bool:
        """Take note of a call on the loop; True when the model has to move to threads now."""
        if seconds <= self._limits.demote_seconds:
            return False
        self.placement = Placement.THREAD
        ceiling = max(_MILD_CEILING, int(seconds / self._limits.demote_seconds))
        self._needed = self._limits.proof_calls * min(2**self._relapses, ceiling)
        self._relapses = min(self._relapses + 1, _MOST_RELAPSES)
        self._cpu.clear()
        self._elapsed.clear()
        return True

    def proven(self, cpu_seconds: float, elapsed_seconds: float) -> bool:
        """Take note of a call in a thread; True when the model may move back to the loop now."""
        self._cpu.append(cpu_seconds)
        self._elapsed.append(elapsed_seconds)
        if len(self._cpu) < self._needed:
            return False
        quick = (
            place(self._cpu, self._limits) is Placement.INLINE and median(self._elapsed) <= self._limits.demote_seconds
        )
        self._cpu.clear()
        self._elapsed.clear()
        if quick:
            self.placement = Placement.INLINE
        return quick
