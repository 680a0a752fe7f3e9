"""Interleaved rounds: A B C, A B C, ...; ratios are taken within a round, so that a machine's mood cancels out."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """All rounds of all servers."""

    title: str
    command: str
    rounds: dict[str, list[Measurement]]

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

    Raises:
        ValueError: a server answered wrong, or a request failed: then no ratio is worth printing.
    """
    result = Comparison(title, "", {contestant.name: [] for contestant in contestants})
    for number in range(1, rounds + 1):
        for contestant in contestants:
            took = contestant.process.start(contestant.ready)
            try:
                contestant.check()
                load(contestant, warm_up)
                before = contestant.process.cpu_seconds()
                seen = load(contestant, seconds)
                spent = contestant.process.cpu_seconds() - before
                contestant.check()
                if seen.failures:
                    raise ValueError(f"{contestant.name} failed {seen.failures} of {seen.requests} requests")
                measurement = Measurement(
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
            result.rounds[contestant.name].append(measurement)
            say(
                f"  round {number}  {contestant.name:10} {seen.per_second:9.0f}/s"
                f"  {measurement.cpu_ms_per_request:.3f} ms CPU"
            )
    return result
