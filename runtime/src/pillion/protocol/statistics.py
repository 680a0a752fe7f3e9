"""The statistics extension: counts since the model was loaded, durations in nanoseconds.

Source: Triton Inference Server, "Statistics Extension". The same dictionary is the REST answer and the fields of the
gRPC message. Decoding and encoding happen in the transports and are not timed for each request, so ``compute_input``
and ``compute_output`` count runs of zero nanoseconds; there is no response cache to hit or miss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion.dataplane.statistics import Durations, ModelStatistics

__all__ = ["statistics_document"]


def statistics_document(models: Iterable[ModelStatistics]) -> dict[str, Any]:
    """``GET /v2/models[/{m}[/versions/{v}]]/stats``."""
    return {"model_stats": [_model(model) for model in models]}


def _model(model: ModelStatistics) -> dict[str, Any]:
    untimed = {"count": model.compute.count, "ns": 0}
    nothing = {"count": 0, "ns": 0}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": int(model.last_inference * 1e3),
        "inference_count": model.inferences,
        "execution_count": model.executions,
        "inference_stats": {
            "success": _duration(model.success),
            "fail": _duration(model.fail),
            "queue": _duration(model.queue),
            "compute_input": untimed,
            "compute_infer": _duration(model.compute),
            "compute_output": untimed,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": {"count": runs.count, "ns": 0},
                "compute_infer": _duration(runs),
                "compute_output": {"count": runs.count, "ns": 0},
            }
            for size, runs in sorted(model.batches.items())
        ],
    }


def _duration(durations: Durations) -> dict[str, int]:
    return {"count": durations.count, "ns": round(durations.seconds * 1e9)}
