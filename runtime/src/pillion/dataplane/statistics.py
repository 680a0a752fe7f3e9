"""What has been counted of a model version, as the statistics extension tells it. Made when somebody asks.

But for the times of runs by their size, the values are those of the metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pillion.metrics import OK
from pillion.model import ModelState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.metrics import ModelMetrics, RuntimeMetrics
    from pillion.model import ModelStatus

__all__ = ["BatchRuns", "Durations", "ModelStatistics", "model_statistics", "statistics_of"]


class Durations(msgspec.Struct, frozen=True):
    """So many times, so many seconds in all."""

    count: int = 0
    seconds: float = 0.0


class BatchRuns(msgspec.Struct, frozen=True):
    """Runs that computed the same number of requests, with seconds in all."""

    count: int
    prepared: float
    """Until the inputs were as the model takes them."""
    computed: float
    divided: float
    """Until each request had its part of the results."""


class ModelStatistics(msgspec.Struct, frozen=True):
    """One model version since it was first loaded by this process."""

    name: str
    version: str
    last_inference: float
    """Unix time of the last request, seconds; 0 before the first."""
    inferences: int
    """Requests answered."""
    executions: int
    """Runs of the model's code; less than ``inferences`` where requests were computed together."""
    success: Durations
    """Requests answered, from arrival at the data plane to the answer."""
    fail: Durations
    """Requests not answered, those that could not even be read included (they count, and take no time)."""
    queue: Durations
    """Requests that reached the model's code, and what they waited before it."""
    prepare: Durations
    """Requests that the model computed, each with the time that the inputs of its run took to be made ready."""
    compute: Durations
    """The same with the time of the model's code."""
    divide: Durations
    """The same with the time until each had its part of the results."""
    batches: Mapping[int, BatchRuns]
    """Runs by the number of requests computed together."""


def model_statistics(status: ModelStatus, metrics: ModelMetrics) -> ModelStatistics:
    """The numbers of one model version now."""
    answered = sum(count for (_, code), count in metrics.requests.items() if code == OK)
    failed = sum(metrics.requests.values()) - answered
    spent = sum(distribution.total for distribution in metrics.duration.values())
    batches = {
        size: BatchRuns(runs.runs, runs.prepared, runs.computed, runs.divided)
        for size, runs in metrics.batches.items()
        if runs.runs
    }
    computed = sum(size * runs.count for size, runs in batches.items())
    return ModelStatistics(
        status.name,
        status.version,
        status.last_used or 0.0,
        inferences=answered,
        executions=sum(runs.count for runs in batches.values()),
        success=Durations(answered, max(0.0, spent - metrics.failed_seconds)),
        fail=Durations(failed, metrics.failed_seconds),
        queue=Durations(computed, metrics.queue_wait.total),
        prepare=Durations(computed, sum(size * runs.prepared for size, runs in batches.items())),
        compute=Durations(computed, sum(size * runs.computed for size, runs in batches.items())),
        divide=Durations(computed, sum(size * runs.divided for size, runs in batches.items())),
        batches=batches,
    )


def statistics_of(
    statuses: Sequence[ModelStatus], metrics: RuntimeMetrics, name: str, version: str | None
) -> list[ModelStatistics]:
    """Those of one model, or of one of its versions; without a name those of every version that serves."""
    return [
        model_statistics(status, metrics.model(status.name, status.version))
        for status in statuses
        if (status.name == name and version in (None, status.version) if name else status.state is ModelState.READY)
    ]
