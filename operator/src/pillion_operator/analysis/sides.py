"""How many pods each of two revisions has next, and which share of requests a Gateway gives the newest. Pure.

Pods come before others go, in both directions: the last good revision gives pods up once those of the newest serve, and
those of the newest go once the last good one has its pods back, one for each that does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pillion_operator.state.plan import Split

if TYPE_CHECKING:
    from pillion_operator.state.plan import ReplicaBounds

__all__ = ["Side", "Sides", "next_split", "split"]


@dataclass(frozen=True, slots=True)
class Side:
    """The pods of one Deployment: as many as it asks for, and those of them that serve, of whatever template.

    Where it is not known for certain, `serving` is the fewest that may be of the last good revision's, and the most of
    the newest's: neither sends pods away too soon.
    """

    wanted: int = 0
    serving: int = 0


@dataclass(frozen=True, slots=True)
class Sides:
    """What there is of both revisions.

    Attributes:
        stable: the last good revision's Deployment.
        canary: the Deployment beside it, whatever revision its pods are of.
        newest: how many pods of that one are available and of the newest revision.
        weighed: whether each Gateway that shares requests out gives the newest revision its share by now.
        crowded: whether a pod of the last good revision finds no room, on the nodes or in a quota.
    """

    stable: Side
    canary: Side = Side()
    newest: int = 0
    weighed: bool = True
    crowded: bool = False


def split(percent: int, bounds: ReplicaBounds, stable: int, available: int) -> Split:
    """Return how many pods the newest revision is to have in the end, and how many the last good one keeps at least.

    Up to a half the last good one keeps all its pods, and those of the newest come on top. Above, the newest gets as
    many as the service has, and the last good one gives pods up once those are available. Never more than one pod over
    the share.

    Args:
        percent: from 0 to 99.
        bounds: of the service's pods.
        stable: pods of the last good revision that are wanted now.
        available: pods of the newest revision that are available now.
    """
    if percent == 0 or stable == 0 or bounds.most == 0:
        return Split(percent, 0, bounds.least)
    if percent <= 50:
        # It may have given pods up, and gets them back.
        whole = max(stable, bounds.least)
        return Split(percent, max(1, percent * whole // (100 - percent)), bounds.least)
    # What is there beyond the least is a scaler's, ours or somebody's.
    count = max(1, stable if bounds.autoscaled else max(stable, bounds.least))
    least = bounds.least
    if available >= count and not bounds.autoscaled:
        least = min(least, max(1, math.ceil(count * (100 - percent) / percent)))
    return Split(percent, count, least)


def next_split(percent: int, bounds: ReplicaBounds, sides: Sides) -> Split:
    """Return what comes next on the way to a share, from whatever there is.

    Where the newest revision is to have fewer pods than serve beside the last good one, those stand in for as many as
    that one lacks. So no change of a share takes the number of pods that serve below what the service has to have. Only
    where one that comes back finds no room, one fewer stands in: else both would wait for each other. The last one
    stays: the room that it leaves may be taken by others, and then nobody would answer.

    Args:
        percent: what the newest revision is to have, from 0 to 99.
        bounds: of the service's pods.
        sides: what there is.
    """
    asked = split(percent, bounds, sides.stable.wanted, sides.newest)
    # What a Gateway still sends the last good one, the fewer pods of it are not for.
    asked = asked if sides.weighed else replace(asked, stable=bounds.least)
    needed = _needed(bounds, sides.stable)
    # The only pod goes for none that may never come.
    needed = max(1, needed - 1) if sides.crowded and needed else needed
    # A ReplicaSet lets go first of those that do not serve.
    stand_ins = min(sides.canary.serving, needed - sides.stable.serving)
    if stand_ins > asked.canary:
        weight = round(100 * stand_ins / (stand_ins + sides.stable.serving))
        return Split(percent, stand_ins, bounds.least, weight, stands_in=True)
    return replace(asked, weight=percent * min(sides.newest, asked.canary) // max(1, asked.canary))


def _needed(bounds: ReplicaBounds, stable: Side) -> int:
    """Return how many pods the service has to have."""
    wanted = max(bounds.least, stable.wanted)
    return wanted if bounds.most is None else min(wanted, bounds.most)
