"""What has been counted of a model version, as the statistics extension tells it. Made when somebody asks.

Nothing is counted for this alone: the values are those of the metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pillion.metrics import OK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.metrics import ModelMetrics
    from pillion.model import ModelStatus

__all__ = ["Durations", "ModelStatistics", "model_statistics"]


class Durations(msgspec.Struct, frozen=True):
    """So many times, so many seconds in all."""

    count: int = 0
    seconds: float = 0.0


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
    compute: Durations
    """Requests that the model computed, each with the time of the run that computed it."""
    batches: Mapping[int, Durations]
    """Runs by the number of requests computed together; empty where that is not counted."""


def model_statistics(status: ModelStatus, metrics: ModelMetrics) -> ModelStatistics:
    """The numbers of one model version now."""
    answered = sum(count for (_, code), count in metrics.requests.items() if code == OK)
    failed = sum(metrics.requests.values()) - answered
    spent = sum(distribution.total for distribution in metrics.duration.values())
    computed = sum(metrics.inference.counts)
    # Of requests that may share calls each call is counted with how many it computed; others have one each.
    calls = computed - round(metrics.batch_size.total) + sum(metrics.batch_size.counts)
    return ModelStatistics(
        status.name,
        status.version,
        status.last_used or 0.0,
        inferences=answered,
        executions=calls,
        success=Durations(answered, max(0.0, spent - metrics.failed_seconds)),
        fail=Durations(failed, metrics.failed_seconds),
        queue=Durations(computed, metrics.queue_wait.total),
        compute=Durations(computed, metrics.inference.total),
        # The metrics count calls by ranges of sizes, and no times by size; this wants both for each size.
        batches={},
    )
