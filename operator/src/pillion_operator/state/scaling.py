"""How a service is scaled by what its pods count, and what became of it: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pillion.resources.autoscaling import PodMetric

__all__ = ["Behavior", "Direction", "PodScaling", "Rate", "ScalingReport", "Select"]

Select: TypeAlias = Literal["Max", "Min", "Disabled"]


@dataclass(frozen=True, slots=True)
class Rate:
    """By how much the number of pods may change within a time: so many pods, or percent of those at its beginning."""

    kind: Literal["Pods", "Percent"]
    value: int
    period: float


@dataclass(frozen=True, slots=True)
class Direction:
    """How fast to go up, or down. Source: autoscaling/v2 HPAScalingRules.

    Attributes:
        window: seconds over which the more cautious of the recommendations counts.
        rates: the limits; none means no limit.
        select: which of several limits counts; `Disabled` does not move that way at all.
        tolerance: the part of the target by which the load may differ from it before anything happens.
    """

    window: float
    rates: tuple[Rate, ...]
    select: Select = "Max"
    tolerance: float = 0.1


@dataclass(frozen=True, slots=True)
class Behavior:
    """How fast to go up and down."""

    up: Direction
    down: Direction


@dataclass(frozen=True, slots=True)
class PodScaling:
    """What of the pods' own counts to aim at, and how fast."""

    metric: PodMetric
    behavior: Behavior


@dataclass(frozen=True, slots=True)
class ScalingReport:
    """What the operator's own autoscaler last did with a service, or why it cannot."""

    reason: str
    text: str
