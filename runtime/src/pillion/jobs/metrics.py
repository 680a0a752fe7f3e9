"""What is counted of jobs: plain numbers, made into families when somebody scrapes (see :mod:`pillion.metrics`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.jobs.states import JobKind, JobState
from pillion.metrics import Distribution

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from pillion.jobs.states import Job

__all__ = ["JobMetrics"]

_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)


class JobMetrics:
    """Counts of one engine. Event loop's thread only."""

    def __init__(self) -> None:
        self._waits: dict[JobKind, Distribution] = {}
        self._runs: dict[JobKind, Distribution] = {}
        self._ended: dict[tuple[JobKind, JobState], int] = {}

    def begun(self, job: Job) -> None:
        """A run of it begins here."""
        if job.claims == 1 and job.started is not None:
            waited = max(0.0, job.started - job.submitted)
            self._waits.setdefault(job.kind, Distribution(_SECONDS)).observe(waited)

    def left(self, job: Job, seconds: float) -> None:
        """A run of it that took so long ended here, and this is what became of it."""
        self._runs.setdefault(job.kind, Distribution(_SECONDS)).observe(seconds)
        if job.ended:
            key = (job.kind, job.state)
            self._ended[key] = self._ended.get(key, 0) + 1

    def families(
        self, totals: Mapping[tuple[JobKind, JobState], int], *, stored: int, errors: int, ready: bool
    ) -> Iterator[Metric]:
        """All families.

        Args:
            totals: jobs that there are.
            stored: bytes of inputs and results.
            errors: of the store.
            ready: whether it serves.
        """
        from prometheus_client.core import (  # noqa: PLC0415 - only who scrapes needs the client library
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        from pillion.exposition import gauge  # noqa: PLC0415 - as above

        jobs = GaugeMetricFamily("pillion_jobs", "Jobs that are kept", labels=("kind", "state"))
        for kind in JobKind:
            for state in JobState:
                jobs.add_metric((kind.value, state.value), totals.get((kind, state), 0))
        yield jobs
        ended = CounterMetricFamily("pillion_jobs_ended", "Jobs that ran here to their end", labels=("kind", "state"))
        for (kind, state), count in sorted(self._ended.items()):
            ended.add_metric((kind.value, state.value), count)
        yield ended
        for name, text, found in (
            ("pillion_jobs_queue_wait_seconds", "From the submission of a job to its first run", self._waits),
            ("pillion_jobs_run_seconds", "Of the runs of jobs, however they ended", self._runs),
        ):
            family = HistogramMetricFamily(name, text, labels=("kind",))
            for kind, distribution in sorted(found.items()):
                family.add_metric((kind.value,), distribution.buckets(), distribution.total)
            yield family
        yield gauge("pillion_jobs_stored_bytes", "Bytes of the inputs and results that are kept", stored)
        yield gauge("pillion_jobs_store_ready", "1 while jobs can be kept", float(ready))
        errors_family = CounterMetricFamily("pillion_jobs_store_errors", "What the store of jobs could not do")
        errors_family.add_metric((), errors)
        yield errors_family
