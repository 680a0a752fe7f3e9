"""The runtime's metrics, native names ``pillion_*``.

Counting must cost next to nothing on the call path, so values are plain numbers in objects that the data plane holds on
to, written by the event loop's thread only; nothing is locked and no label is looked up per call. A collector turns
them into Prometheus families when somebody scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from pillion.dataplane.call import WireProtocol
    from pillion.model import ModelStatus

__all__ = ["OK", "Distribution", "LaneGauges", "ModelMetrics", "RuntimeMetrics"]

OK: Final = "ok"
"""The ``code`` label of a request that was answered; the others are the values of ``ErrorCode``."""

_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
_BOUNDS: Final = (*(str(bound) for bound in _SECONDS), "+Inf")
_STATES: Final = ("LOADING", "READY", "UNLOADING", "UNAVAILABLE")


class Distribution:
    """A histogram of seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        running, result = 0, []
        for bound, count in zip(_BOUNDS, list(self.counts), strict=True):
            running += count
            result.append((bound, float(running)))
        return result


class LaneGauges:
    """What is counted now for one loaded model: read at scrape time."""

    __slots__ = ("abandoned", "in_flight", "queued")

    def __init__(self, in_flight: Callable[[], int], queued: Callable[[], int], abandoned: Callable[[], int]) -> None:
        self.in_flight = in_flight
        self.queued = queued
        self.abandoned = abandoned


class ModelMetrics:
    """Everything counted for one model version. The data plane keeps a reference and writes to it directly."""

    __slots__ = ("duration", "gauges", "inference", "load_seconds", "model", "queue_wait", "requests", "version")

    def __init__(self, model: str, version: str) -> None:
        self.model = model
        self.version = version
        self.requests: dict[tuple[WireProtocol, str], int] = {}
        self.duration: dict[WireProtocol, Distribution] = {}
        self.queue_wait = Distribution()
        self.inference = Distribution()
        self.load_seconds: float | None = None
        self.gauges: list[LaneGauges] = []

    def request(self, protocol: WireProtocol, code: str, seconds: float) -> None:
        """Count one request that has ended, ``seconds`` after it reached the data plane."""
        key = (protocol, code)
        self.requests[key] = self.requests.get(key, 0) + 1
        duration = self.duration.get(protocol)
        if duration is None:
            duration = self.duration[protocol] = Distribution()
        duration.observe(seconds)


class RuntimeMetrics:
    """All metrics of one runtime, registered with ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._models: dict[tuple[str, str], ModelMetrics] = {}
        self._limits: dict[str, int] = {}
        self._statuses: Callable[[], Sequence[ModelStatus]] = tuple
        registry.register(self)

    def model(self, model: str, version: str) -> ModelMetrics:
        """The counters of a model version; the same object for the same names."""
        key = (model, version)
        found = self._models.get(key)
        if found is None:
            found = self._models[key] = ModelMetrics(model, version)
        return found

    def forget(self, model: str, version: str) -> None:
        """Drop the series of a version that is gone for good, so that they do not pile up."""
        self._models.pop((model, version), None)

    def refused(self, protocol: WireProtocol, code: str, model: str = "", version: str = "") -> None:
        """Count a request that failed before it reached a model: bad JSON, unknown model, draining.

        Name ``model`` only where it is known to exist: names made up by clients would become series.
        """
        entry = self.model(model, version)
        key = (protocol, code)
        entry.requests[key] = entry.requests.get(key, 0) + 1

    def limit_hit(self, limit: str) -> None:
        """Count a refusal by a limit; ``limit`` is the setting's name (``limits.max_body_bytes``)."""
        self._limits[limit] = self._limits.get(limit, 0) + 1

    def follow(self, statuses: Callable[[], Sequence[ModelStatus]]) -> None:
        """Take model states from here at scrape time."""
        self._statuses = statuses

    def describe(self) -> Iterable[Metric]:
        """Nothing is computed at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, in the order they read best."""
        models = [self._models[key] for key in sorted(self._models)]
        yield from _requests(models)
        yield from _phases(models)
        yield from _gauges(models)
        states = GaugeMetricFamily(
            "pillion_model_state", "1 for the state that a model version is in", labels=("model", "version", "state")
        )
        for status in self._statuses():
            for state in _STATES:
                states.add_metric((status.name, status.version, state), float(state == status.state.value))
        yield states
        limits = CounterMetricFamily(
            "pillion_limit_hits", "Requests and connections refused by a limit, by its setting", labels=("limit",)
        )
        for limit, count in sorted(self._limits.items()):
            limits.add_metric((limit,), count)
        yield limits


def _requests(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    labels = ("model", "version", "protocol")
    requests = CounterMetricFamily("pillion_requests", "Inference requests that have ended", labels=(*labels, "code"))
    duration = HistogramMetricFamily(
        "pillion_request_duration_seconds", "From arrival at the data plane to the answer", labels=labels
    )
    for entry in models:
        for (protocol, code), count in sorted(entry.requests.items()):
            requests.add_metric((entry.model, entry.version, protocol.value, code), count)
        for protocol, distribution in sorted(entry.duration.items()):
            duration.add_metric(
                (entry.model, entry.version, protocol.value), distribution.buckets(), distribution.total
            )
    yield requests
    yield duration


def _phases(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    labels = ("model", "version")
    queue = HistogramMetricFamily("pillion_queue_wait_seconds", "Time that queued requests waited", labels=labels)
    inference = HistogramMetricFamily("pillion_inference_duration_seconds", "Time in the model's code", labels=labels)
    load = GaugeMetricFamily("pillion_model_load_seconds", "Time the last load took, warm-up included", labels=labels)
    for entry in models:
        if not entry.model:
            continue
        key = (entry.model, entry.version)
        queue.add_metric(key, entry.queue_wait.buckets(), entry.queue_wait.total)
        inference.add_metric(key, entry.inference.buckets(), entry.inference.total)
        if entry.load_seconds is not None:
            load.add_metric(key, entry.load_seconds)
    yield queue
    yield inference
    yield load


def _gauges(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    labels = ("model", "version")
    in_flight = GaugeMetricFamily("pillion_in_flight", "Requests running in the model now", labels=labels)
    queued = GaugeMetricFamily("pillion_queue_length", "Requests waiting for the model now", labels=labels)
    abandoned = GaugeMetricFamily(
        "pillion_abandoned_calls", "Calls that run on although nobody waits for their result", labels=labels
    )
    for entry in models:
        if not entry.model:
            continue
        key = (entry.model, entry.version)
        lanes = list(entry.gauges)
        in_flight.add_metric(key, sum(lane.in_flight() for lane in lanes))
        queued.add_metric(key, sum(lane.queued() for lane in lanes))
        abandoned.add_metric(key, sum(lane.abandoned() for lane in lanes))
    yield in_flight
    yield queued
    yield abandoned
