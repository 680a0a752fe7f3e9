"""Counted values as Prometheus families. Imported when somebody scrapes: see :mod:`pillion.metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from pillion.metrics import Distribution, ModelMetrics
    from pillion.model import ModelStatus

__all__ = ["counter", "gauge", "runtime_families", "step_family"]

_STATES: Final = ("LOADING", "READY", "UNLOADING", "UNAVAILABLE")


def counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    """A counter with one label, by the label's value."""
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric((value,), count)
    return family


def gauge(name: str, text: str, value: float, **labels: str) -> GaugeMetricFamily:
    """A gauge with one value."""
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family


def step_family(steps: Mapping[tuple[str, str], Distribution]) -> HistogramMetricFamily:
    """How long the steps of compositions take, by the names of flow and step."""
    family = HistogramMetricFamily(
        "pillion_step_seconds",
        "Time of a step of a composition, its waiting for threads and workers included",
        labels=("flow", "step"),
    )
    for (flow, step), times in sorted(steps.items()):
        family.add_metric((flow, step), times.buckets(), times.total)
    return family


def runtime_families(
    models: Sequence[ModelMetrics], statuses: Sequence[ModelStatus], limits: Mapping[str, int]
) -> Iterator[Metric]:
    """The families of requests and models, in the order they read best."""
    yield from _requests(models)
    yield from _phases(models)
    yield from _streams(models)
    yield from _gauges(models)
    yield from _workers(models)
    states = GaugeMetricFamily(
        "pillion_model_state", "1 for the state that a model version is in", labels=("model", "version", "state")
    )
    for status in statuses:
        for state in _STATES:
            states.add_metric((status.name, status.version, state), float(state == status.state.value))
    yield states
    yield counter("pillion_limit_hits", "Requests and connections refused by a limit, by its setting", "limit", limits)


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
                (entry.model, entry.version, protocol.value), _with_exemplars(distribution), distribution.total
            )
    yield requests
    yield duration


def _with_exemplars(distribution: Distribution) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """The buckets; in OpenMetrics those that a traced request fell into lead to its trace."""
    kept = distribution.exemplars or {}
    return [
        (bound, count, Exemplar({"trace_id": kept[place].trace_id}, kept[place].seconds, kept[place].unix))
        if place in kept
        else (bound, count)
        for place, (bound, count) in enumerate(distribution.buckets())
    ]


def _phases(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    labels = ("model", "version")
    queue = HistogramMetricFamily("pillion_queue_wait_seconds", "Time that queued requests waited", labels=labels)
    inference = HistogramMetricFamily(
        "pillion_inference_duration_seconds", "Time of a request in the model's code", labels=labels
    )
    batches = HistogramMetricFamily(
        "pillion_batch_requests",
        "Requests in one call of a model whose requests may share calls",
        labels=labels,
    )
    load = GaugeMetricFamily("pillion_model_load_seconds", "Time the last load took, warm-up included", labels=labels)
    loads = CounterMetricFamily("pillion_model_loads", "Loads that succeeded", labels=labels)
    evictions = CounterMetricFamily(
        "pillion_model_evictions", "Unloads that made room for another model", labels=labels
    )
    for entry in models:
        if not entry.model:
            continue
        key = (entry.model, entry.version)
        if entry.loads:
            loads.add_metric(key, entry.loads)
        if entry.evictions:
            evictions.add_metric(key, entry.evictions)
        queue.add_metric(key, entry.queue_wait.buckets(), entry.queue_wait.total)
        inference.add_metric(key, entry.inference.buckets(), entry.inference.total)
        if any(entry.batch_size.counts):
            batches.add_metric(key, entry.batch_size.buckets(), entry.batch_size.total)
        if entry.load_seconds is not None:
            load.add_metric(key, entry.load_seconds)
    yield queue
    yield inference
    yield batches
    yield load
    yield loads
    yield evictions


def _streams(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    streaming = [entry for entry in models if entry.first_items is not None]
    if not streaming:
        return
    labels = ("model", "version")
    first = HistogramMetricFamily(
        "pillion_stream_first_item_seconds",
        "From arrival at the data plane to the first item of a stream",
        labels=labels,
    )
    items = CounterMetricFamily("pillion_stream_items", "Items of streams, as handed to their transport", labels=labels)
    for entry in streaming:
        key = (entry.model, entry.version)
        if entry.first_items is not None:
            first.add_metric(key, entry.first_items.buckets(), entry.first_items.total)
        items.add_metric(key, entry.items)
    yield first
    yield items


def _gauges(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    labels = ("model", "version")
    in_flight = GaugeMetricFamily("pillion_in_flight", "Requests running in the model now", labels=labels)
    queued = GaugeMetricFamily("pillion_queue_length", "Requests waiting for the model now", labels=labels)
    abandoned = GaugeMetricFamily(
        "pillion_abandoned_calls", "Calls that run on although nobody waits for their result", labels=labels
    )
    limit = GaugeMetricFamily("pillion_concurrency_limit", "Calls of the model that may run at a time", labels=labels)
    shedding = GaugeMetricFamily("pillion_queue_shedding", "1 while the model's queue is kept short", labels=labels)
    for entry in models:
        if not entry.model:
            continue
        key = (entry.model, entry.version)
        lanes = list(entry.gauges)
        limits = [most for lane in lanes if (most := lane.limit()) is not None]
        if limits:
            limit.add_metric(key, sum(limits))
            shedding.add_metric(key, float(any(lane.shedding() for lane in lanes)))
        in_flight.add_metric(key, sum(lane.in_flight() for lane in lanes))
        queued.add_metric(key, sum(lane.queued() for lane in lanes))
        abandoned.add_metric(key, sum(lane.abandoned() for lane in lanes))
    yield in_flight
    yield queued
    yield abandoned
    yield limit
    yield shedding


def _workers(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    """Nothing where no model has any."""
    labels = ("model", "version")
    ready = GaugeMetricFamily("pillion_workers", "Worker processes that take calls now", labels=labels)
    restarts = CounterMetricFamily(
        "pillion_worker_restarts", "Worker processes that were started in place of one that had ended", labels=labels
    )
    recycled = CounterMetricFamily(
        "pillion_worker_recycles", "Worker processes started in place of one that had served long enough", labels=labels
    )
    calls = GaugeMetricFamily(
        "pillion_worker_calls", "Calls that a worker process holds, one computing", labels=(*labels, "worker")
    )
    resident = GaugeMetricFamily(
        "pillion_worker_resident_bytes", "Resident memory of a worker process", labels=(*labels, "worker")
    )
    for entry in models:
        # While a model is replaced, the workers of the former one are there, too.
        states = [state for lane in entry.gauges if lane.workers is not None for state in lane.workers()]
        if not states:
            continue
        key = (entry.model, entry.version)
        ready.add_metric(key, sum(state.ready for state in states))
        recycled.add_metric(key, sum(state.recycled for state in states))
        restarts.add_metric(key, sum(state.starts - 1 - state.recycled for state in states))
        for index in sorted({state.index for state in states}):
            memory = sum(state.rss for state in states if state.index == index)
            resident.add_metric((*key, str(index)), memory)
            calls.add_metric((*key, str(index)), sum(state.calls for state in states if state.index == index))
    if ready.samples:
        yield ready
        yield restarts
        yield recycled
        yield calls
        yield resident
