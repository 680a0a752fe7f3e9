"""How long steps took, read from a server's metrics. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pillion.graph.drawing import StepTimes

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["step_times"]

_LINE: Final = re.compile(r"pillion_step_seconds_(bucket|sum|count)\{(.*)\} (\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SHARE: Final = 0.95


def step_times(exposition: str, flow: str) -> Mapping[str, StepTimes]:
    """By the labels of the steps of one flow, of those that were called."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    buckets: dict[str, list[tuple[float, float]]] = {}
    for line in exposition.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        kind, labels, value = found.groups()
        named = dict(_LABEL.findall(labels))
        if named.get("flow") != flow:
            continue
        step = named["step"]
        if kind == "sum":
            sums[step] = float(value)
        elif kind == "count":
            counts[step] = int(float(value))
        else:
            buckets.setdefault(step, []).append((float(named["le"]), float(value)))
    return {
        step: StepTimes(count, sums[step] / count, _most(buckets.get(step, []), count))
        for step, count in counts.items()
        if count
    }


def _most(buckets: list[tuple[float, float]], count: int) -> float:
    """The upper edge of the bucket with the call that 95 in 100 are no slower than."""
    return min((edge for edge, below in buckets if below >= _SHARE * count), default=float("inf"))
