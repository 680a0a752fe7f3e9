"""The statistics extension: counts since the model was loaded, durations in nanoseconds.

Source: Triton Inference Server, "Statistics Extension". The same dictionary is the REST answer and the fields of the
gRPC message. As there, ``compute_input`` and ``compute_output`` are what the data plane does around a run (inputs are
checked and put together, results are divided), and not the decoding and encoding of the transports. There is no
response cache to hit or miss.
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
            "compute_input": _duration(model.prepare),
            "compute_infer": _duration(model.compute),
            "compute_output": _duration(model.divide),
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _nanoseconds(runs.count, runs.prepared),
                "compute_infer": _nanoseconds(runs.count, runs.computed),
                "compute_output": _nanoseconds(runs.count, runs.divided),
            }
            for size, runs in sorted(model.batches.items())
        ],
    }


def _duration(durations: Durations) -> dict[str, int]:
    return _nanoseconds(durations.count, durations.seconds)


def _nanoseconds(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
