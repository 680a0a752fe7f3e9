"""Whether the newest revision does as well as asked, beside the last good one. Pure.

Both limits are shares of bad requests: of failed ones, and, since a 99th percentile is kept exactly if at most one
request in a hundred takes longer, of slow ones. A revision fails when so many bad requests would hardly ever happen to
one that keeps the limit, and to one that is as bad as the last good one. The test is exact (the binomial
distribution's tail), so a few requests never decide by accident, and a plain failure is seen after a few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pillion_operator.analysis.window import Figures

__all__ = ["Finding", "Limits", "Verdict", "enough", "hardly_ever", "judged"]

#: How seldom a good revision may be taken for a bad one at one look.
_SELDOM: Final = 1e-4
#: The share of requests that may take longer than the 99th percentile.
_SLOW: Final = 0.01
_FEWEST: Final = 50
_MOST: Final = 1000


@unique
class Verdict(StrEnum):
    """What the figures say."""

    PASSES = "Passes"
    HOLDS = "Holds"
    FAILS = "Fails"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a revision is held to; None for what is not asked."""

    error_rate: float | None = None
    latency: float | None = None
    """Seconds that the 99th percentile may take."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with its figures, for people."""

    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class _Bad:
    """Bad requests among all, of one revision."""

    bad: float
    all: float

    @property
    def rate(self) -> float:
        return self.bad / self.all if self.all else 0.0


def judged(limits: Limits, newest: Figures, stable: Figures) -> Finding:
    """Return what the figures of the two revisions come to: the worst of what is asked."""
    found: list[Finding] = []
    if limits.error_rate is not None:
        said = f"{_percent(newest.error_rate)} of {newest.requests:.0f} requests failed"
        said += f" (last good revision: {_percent(stable.error_rate)} of {stable.requests:.0f}), at most "
        said += f"{_percent(limits.error_rate)}"
        sides = _Bad(newest.failed, newest.requests), _Bad(stable.failed, stable.requests)
        found.append(_compared(said, *sides, limits.error_rate))
    if limits.latency is not None:
        said = f"99 % of requests took up to {_seconds(newest.quantile(0.99))}"
        said += f" (last good revision: {_seconds(stable.quantile(0.99))}), at most {_seconds(limits.latency)}"
        slow = _Bad(newest.slower(limits.latency), newest.timed), _Bad(stable.slower(limits.latency), stable.timed)
        found.append(_compared(said, *slow, _SLOW))
    for verdict in (Verdict.FAILS, Verdict.HOLDS):
        if any(one.verdict is verdict for one in found):
            return Finding(verdict, "; ".join(one.text for one in found if one.verdict is verdict))
    return Finding(Verdict.PASSES, "; ".join(one.text for one in found))


def enough(limit: float) -> int:
    """Return after how many requests without a bad one a limit is kept: three times one in so many, by 95 of 100."""
    return min(_MOST, max(_FEWEST, math.ceil(3 / limit))) if limit else _MOST


def hardly_ever(bad: int, of: int, rate: float) -> bool:
    """Whether so many bad ones of so many hardly ever happen at that rate."""
    if bad <= of * rate:
        return False
    if rate <= 0 or rate >= 1:
        return rate <= 0
    # The tail's terms fall from here on: each is the former one times this ratio.
    term = math.exp(
        math.lgamma(of + 1)
        - math.lgamma(bad + 1)
        - math.lgamma(of - bad + 1)
        + bad * math.log(rate)
        + (of - bad) * math.log1p(-rate)
    )
    tail, count = term, bad
    while count < of and term > tail * 1e-9 and tail < _SELDOM:
        term *= (of - count) / (count + 1) * rate / (1 - rate)
        tail += term
        count += 1
    return tail < _SELDOM


def _compared(said: str, newest: _Bad, stable: _Bad, limit: float) -> Finding:
    needed = enough(limit)
    # After a restart there are few requests of both, and what both suffer from shows in as many of each.
    comparable = stable.all >= min(needed, newest.all)
    usual = max(limit, stable.rate if comparable else 0.0)
    if hardly_ever(round(newest.bad), round(newest.all), usual):
        return Finding(Verdict.FAILS, said)
    if newest.all < needed:
        return Finding(Verdict.HOLDS, f"{said}; {needed} requests are needed to tell")
    if newest.rate > limit:
        same = stable.all >= needed and stable.rate > limit
        why = "the last good revision keeps it neither" if same else "too near to tell"
        return Finding(Verdict.HOLDS, f"{said}; {why}")
    return Finding(Verdict.PASSES, said)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _seconds(value: float | None) -> str:
    if value is None:
        return "nothing"
    return f"{value:g} s" if value >= 1 else f"{1000 * value:g} ms"
