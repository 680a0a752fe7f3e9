"""The metrics of other servers, by their names, of what is counted here: for dashboards and alerts that people have.

Imported when somebody scrapes. What each name stands for is in the reference of metrics; a name that nothing here
measures is left out rather than filled with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
    UntypedMetricFamily,
)

from pillion.metrics import OK, Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from pillion.metrics import ModelMetrics

__all__ = ["SERVERS", "families"]

_MICROSECONDS: Final = 1e6
_VERSIONED: Final = ("model", "version")
_OTHER: Final = "OTHER"
_REASONS: Final = {"queue_full": "REJECTED", "cancelled": "CANCELED", "model_failed": "BACKEND"}
"""Triton's reasons for a failure, by our codes."""


def families(servers: Sequence[str], models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    """The families of those servers: ``triton``, ``mlserver``, ``kserve``."""
    named = [entry for entry in models if entry.model]
    for server in dict.fromkeys(servers):
        yield from SERVERS[server](named)


def _answered(entry: ModelMetrics) -> int:
    return sum(count for (_, code), count in entry.requests.items() if code == OK)


def _failed(entry: ModelMetrics) -> int:
    return sum(count for (_, code), count in entry.requests.items() if code != OK)


def _computed(entry: ModelMetrics) -> int:
    return sum(entry.inference.counts)


def _calls(entry: ModelMetrics) -> float:
    """Those that share a call count once."""
    return _computed(entry) - entry.batch_size.total + sum(entry.batch_size.counts)


def _seconds(entry: ModelMetrics) -> float:
    return sum(distribution.total for distribution in entry.duration.values())


def _plain(name: str, text: str, models: Sequence[ModelMetrics], value: Callable[[ModelMetrics], float]) -> Metric:
    """A counter under a name without ``_total``, which Triton's are. Typed as unknown: counters must have it."""
    family = UntypedMetricFamily(name, text, labels=_VERSIONED)
    for entry in models:
        family.add_metric((entry.model, entry.version), value(entry))
    return family


def _triton(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    yield _plain("nv_inference_request_success", "Requests that were answered", models, _answered)
    failures = UntypedMetricFamily(
        "nv_inference_request_failure", "Requests that failed", labels=("model", "reason", "version")
    )
    for entry in models:
        reasons = dict.fromkeys((*_REASONS.values(), _OTHER), 0)
        for (_, code), count in entry.requests.items():
            if code != OK:
                reasons[_REASONS.get(code, _OTHER)] += count
        for reason, count in reasons.items():
            failures.add_metric((entry.model, reason, entry.version), count)
    yield failures
    yield _plain("nv_inference_count", "Requests that were computed", models, _computed)
    yield _plain("nv_inference_exec_count", "Calls of the model's code", models, _calls)
    yield _plain("nv_inference_request_duration_us", "Time of requests", models, lambda e: _seconds(e) * _MICROSECONDS)
    yield _plain(
        "nv_inference_queue_duration_us", "Time in the queue", models, lambda e: e.queue_wait.total * _MICROSECONDS
    )
    yield _plain(
        "nv_inference_compute_infer_duration_us",
        "Time in the model's code",
        models,
        lambda e: e.inference.total * _MICROSECONDS,
    )
    pending = GaugeMetricFamily("nv_inference_pending_request_count", "Requests in the queue", labels=_VERSIONED)
    for entry in models:
        pending.add_metric((entry.model, entry.version), sum(lane.queued() for lane in list(entry.gauges)))
    yield pending


def _mlserver(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    success = CounterMetricFamily("model_infer_request_success", "Requests that were answered", labels=_VERSIONED)
    failure = CounterMetricFamily("model_infer_request_failure", "Requests that failed", labels=_VERSIONED)
    duration = SummaryMetricFamily("model_infer_request_duration", "Seconds of requests", labels=_VERSIONED)
    for entry in models:
        key = (entry.model, entry.version)
        answered, failed = _answered(entry), _failed(entry)
        success.add_metric(key, answered)
        failure.add_metric(key, failed)
        duration.add_metric(
            key, sum(sum(distribution.counts) for distribution in entry.duration.values()), _seconds(entry)
        )
    yield success
    yield failure
    yield duration


def _kserve(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    predict = HistogramMetricFamily("request_predict_seconds", "Time in the model's code", labels=("model_name",))
    steps = [
        HistogramMetricFamily(f"request_{step}_seconds", f"Time to {step}: models here have no such step of their own",
                              labels=("model_name",))
        for step in ("preprocess", "postprocess")
    ]  # fmt: skip
    for name in dict.fromkeys(entry.model for entry in models):
        whole, none = Distribution(), Distribution()
        for entry in models:
            if entry.model == name:
                whole.counts = [one + other for one, other in zip(whole.counts, entry.inference.counts, strict=True)]
                whole.total += entry.inference.total
        none.counts[0] = sum(whole.counts)
        predict.add_metric((name,), whole.buckets(), whole.total)
        for step in steps:
            step.add_metric((name,), none.buckets(), 0.0)
    yield steps[0]
    yield predict
    yield steps[1]


SERVERS: Final[Mapping[str, Callable[[Sequence[ModelMetrics]], Iterator[Metric]]]] = {
    "triton": _triton,
    "mlserver": _mlserver,
    "kserve": _kserve,
}
