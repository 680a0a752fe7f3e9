"""The steps of a rollout: which share is next, and when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pillion_operator.analysis.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion_operator.analysis.verdict import Finding

__all__ = ["Stage", "Step", "next_stage", "rest"]


@dataclass(frozen=True, slots=True)
class Step:
    """A share and how long it stays at least."""

    weight: int
    pause: float


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a rollout is.

    Attributes:
        index: of the step; their number once all have passed.
        since: when the share of the step was reached, in seconds since 1970; zero before.
    """

    index: int = 0
    since: float = 0.0


def next_stage(
    steps: Sequence[Step], stage: Stage, now: float, *, reached: bool, finding: Finding | None, held: bool
) -> Stage:
    """Return where the rollout is now: one step further at most.

    Args:
        steps: all of them.
        stage: where it was.
        now: in seconds since 1970.
        reached: whether the newest revision has the pods of its share.
        finding: of the analysis; None where there is none.
        held: whether somebody has paused it.
    """
    if stage.index >= len(steps):
        return stage
    if not stage.since or now < stage.since:
        # A clock that was set back begins the step anew, which is the least that is surely enough.
        return Stage(stage.index, now) if reached else stage
    if held or not reached or rest(steps, stage, now) > 0:
        return stage
    if finding is not None and finding.verdict is not Verdict.PASSES:
        return stage
    return Stage(stage.index + 1)


def rest(steps: Sequence[Step], stage: Stage, now: float) -> float:
    """Return the seconds that the step stays at least."""
    if stage.index >= len(steps) or not stage.since:
        return 0.0
    return max(0.0, steps[stage.index].pause - max(0.0, now - stage.since))
