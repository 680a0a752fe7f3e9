"""Interleaved rounds: A B C, A B C, ...; ratios are taken within a round, so that a machine's mood cancels out."""

from __future__ import annotations

import statistics
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.contestants import LIMIT, OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.contestants import Contestant
    from bench.load import Load

__all__ = ["Comparison", "Measurement", "Ratio", "compare"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One server in one round."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_request: float
    rss_mib: float
    start_seconds: float
    failures: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median of the per-round ratios of requests/s, with the smallest and the largest."""

    median: float
    low: float
    high: float


@dataclass(slots=True)
class Comparison:
    """All rounds of all servers. ``refused`` are those without a ratio, and why: a wrong answer, a failed request."""

    title: str
    rounds: dict[str, list[Measurement]]
    refused: dict[str, str] = field(default_factory=dict)

    def ratio(self, name: str, over: str) -> Ratio:
        """Requests/s of ``name`` over those of ``over``."""
        ratios = [
            mine.per_second / theirs.per_second
            for mine, theirs in zip(self.rounds[name], self.rounds[over], strict=True)
        ]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))

    def median(self, name: str, figure: str) -> float:
        """The median of one figure of one server."""
        figures: list[float] = [getattr(measurement, figure) for measurement in self.rounds[name]]
        return statistics.median(figures)


def compare(
    title: str,
    contestants: Sequence[Contestant],
    load: Callable[[Contestant, int], Load],
    *,
    rounds: int,
    seconds: int,
    warm_up: int,
    say: Callable[[str], None],
) -> Comparison:
    """Measure every contestant in every round, one server up at a time.

    Whoever answers wrong, fails a request or does not come up has no ratio: it leaves the comparison with the reason.

    Raises:
        ValueError: that was Pillion, or the yardstick: then there is nothing left to compare.
    """
    result = Comparison(title, {contestant.name: [] for contestant in contestants})
    for number in range(1, rounds + 1):
        for contestant in contestants:
            if contestant.name in result.refused:
                continue
            try:
                measured = _measure(contestant, load, seconds, warm_up)
            except (OSError, ValueError, RuntimeError, subprocess.CalledProcessError) as error:
                if contestant.name in (OURS, LIMIT):
                    raise
                del result.rounds[contestant.name]
                result.refused[contestant.name] = f"{type(error).__name__}: {error}"
                say(f"  round {number}  {contestant.name:10} refused: {error}")
                continue
            result.rounds[contestant.name].append(measured)
            say(
                f"  round {number}  {contestant.name:10} {measured.per_second:9.0f}/s"
                f"  {measured.cpu_ms_per_request:.3f} ms CPU"
            )
    return result


def _measure(
    contestant: Contestant, load: Callable[[Contestant, int], Load], seconds: int, warm_up: int
) -> Measurement:
    """One server in one round.

    Raises:
        ValueError: it answered wrong, or failed a request.
        OSError, RuntimeError: it did not come up, or went away.
    """
    took = contestant.process.start(contestant.is_ready)
    try:
        contestant.check()
        load(contestant, warm_up)
        before = contestant.process.cpu_seconds()
        seen = load(contestant, seconds)
        spent = contestant.process.cpu_seconds() - before
        contestant.check()
        if seen.failures or not seen.requests:
            raise ValueError(f"{contestant.name} failed {seen.failures} of {seen.requests} requests")
        return Measurement(
            round(seen.per_second, 1),
            seen.p50_ms,
            seen.p99_ms,
            round(1000 * spent / seen.requests, 4),
            round(contestant.process.rss_mib(), 1),
            round(took, 2),
            seen.failures,
        )
    finally:
        contestant.process.stop()
