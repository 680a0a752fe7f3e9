"""The runtime's metrics, native names ``pillion_*``.

Counting must cost next to nothing on the call path, so values are plain numbers in objects that the data plane holds on
to, written by the event loop's thread only; nothing is locked and no label is looked up per call. A collector turns
them into Prometheus families when somebody scrapes.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from pillion.dataplane.call import WireProtocol
    from pillion.execution.api import WorkerState
    from pillion.model import ModelStatus

__all__ = [
    "OK",
    "BatchCounts",
    "Collectors",
    "Distribution",
    "Exemplar",
    "LaneGauges",
    "ModelMetrics",
    "Registry",
    "RuntimeMetrics",
]

OK: Final = "ok"
"""The ``code`` label of a request that was answered; the others are the values of ``ErrorCode``."""

_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
_REQUESTS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Registry(Protocol):
    """Where collectors are registered: :class:`Collectors`, or prometheus_client's ``CollectorRegistry``."""

    def register(self, collector: Any) -> None:  # noqa: ANN401 - whatever has a method `collect`
        """Take a collector's families from now on."""
        ...

    def collect(self) -> Iterable[Metric]:
        """All families of all collectors."""
        ...


class Collectors:
    """A registry that checks no names: those of one runtime are all ours."""

    def __init__(self) -> None:
        self._collectors: list[Any] = []

    def register(self, collector: Any) -> None:  # noqa: ANN401 - as in Registry
        """Take a collector's families from now on."""
        self._collectors.append(collector)

    def collect(self) -> Iterator[Metric]:
        """All families of all collectors, in the order they were registered."""
        for collector in self._collectors:
            yield from collector.collect()


class Distribution:
    """A histogram, of seconds unless other bounds are given."""

    __slots__ = ("_bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...] = _SECONDS) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] | None = None
        """The last traced request of each bucket, by the bucket's place."""

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, seen ``times`` times."""
        self.counts[bisect_left(self._bounds, value)] += times
        self.total += value * times

    def exemplar(self, seconds: float, trace_id: str) -> None:
        """Keep a request that was counted as the example of its bucket."""
        if self.exemplars is None:
            self.exemplars = {}
        self.exemplars[bisect_left(self._bounds, seconds)] = Exemplar(trace_id, seconds, time.time())

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        running, result = 0, []
        bounds = (*(str(bound) for bound in self._bounds), "+Inf")
        for bound, count in zip(bounds, list(self.counts), strict=True):
            running += count
            result.append((bound, float(running)))
        return result


class Exemplar(NamedTuple):
    """A request that stands for others: OpenMetrics' exemplar of a bucket."""

    trace_id: str
    seconds: float
    unix: float


class BatchCounts:
    """Runs of a model that computed so many requests each, and the seconds that they took in all."""

    __slots__ = ("computed", "divided", "prepared", "runs")

    def __init__(self) -> None:
        self.runs = 0
        self.prepared = 0.0
        """Until the inputs were as the model takes them."""
        self.computed = 0.0
        self.divided = 0.0
        """Until each request had its part of the results."""


class LaneGauges:
    """What is counted now for one loaded model: read at scrape time."""

    __slots__ = ("abandoned", "in_flight", "limit", "queued", "shedding", "workers")

    def __init__(
        self,
        in_flight: Callable[[], int],
        queued: Callable[[], int],
        abandoned: Callable[[], int],
        workers: Callable[[], Sequence[WorkerState]] | None = None,
        limit: Callable[[], int | None] = lambda: None,
        shedding: Callable[[], bool] = lambda: False,
    ) -> None:
        self.in_flight = in_flight
        self.queued = queued
        self.abandoned = abandoned
        self.workers = workers
        """Processes that run its calls; None where the server does."""
        self.limit = limit
        """Calls that may run at a time; None where they run on the event loop."""
        self.shedding = shedding
        """Whether its queue is being kept short."""


class ModelMetrics:
    """Everything counted for one model version. The data plane keeps a reference and writes to it directly."""

    __slots__ = (
        "batch_size", "batches", "duration", "evictions", "failed_seconds", "first_items", "gauges", "inference",
        "items", "load_seconds", "loads", "model", "queue_wait", "requests", "version",
    )  # fmt: skip

    def __init__(self, model: str, version: str) -> None:
        self.model = model
        self.version = version
        self.requests: dict[tuple[WireProtocol, str], int] = {}
        self.duration: dict[WireProtocol, Distribution] = {}
        self.failed_seconds = 0.0
        """Those of ``duration`` that requests took which failed."""
        self.queue_wait = Distribution()
        self.inference = Distribution()
        """For each request, the time of the call that computed it."""
        self.batch_size = Distribution(_REQUESTS)
        """Requests computed by each call, of a model whose requests may share calls."""
        self.batches: dict[int, BatchCounts] = {}
        """The same by the exact number, and of every model. Numbers are at most what one call may compute."""
        self.load_seconds: float | None = None
        self.loads = 0
        self.evictions = 0
        """Times it was unloaded to make room for another model."""
        self.gauges: list[LaneGauges] = []
        self.first_items: Distribution | None = None
        """Times to the first item; None where nothing was streamed yet."""
        self.items = 0
        """Items of streams that were taken by who sends them."""

    def batches_of(self, size: int) -> BatchCounts:
        """What is counted of runs that compute so many requests."""
        found = self.batches.get(size)
        if found is None:
            found = self.batches[size] = BatchCounts()
        return found

    def first_item(self, seconds: float) -> None:
        """Count a stream whose first item came ``seconds`` after the request reached the data plane."""
        if self.first_items is None:
            self.first_items = Distribution()
        self.first_items.observe(seconds)

    def request(self, protocol: WireProtocol, code: str, seconds: float) -> None:
        """Count one request that has ended, ``seconds`` after it reached the data plane."""
        key = (protocol, code)
        self.requests[key] = self.requests.get(key, 0) + 1
        duration = self.duration.get(protocol)
        if duration is None:
            duration = self.duration[protocol] = Distribution()
        duration.observe(seconds)
        if code != OK:
            self.failed_seconds += seconds

    def exemplar(self, protocol: WireProtocol, seconds: float, trace_id: str) -> None:
        """Keep a traced request, counted before, as an example of those that took as long."""
        self.duration[protocol].exemplar(seconds, trace_id)


class RuntimeMetrics:
    """All metrics of one runtime, registered with ``registry``.

    ``compatibility`` names servers whose metrics are shown as well: triton, mlserver, kserve.
    """

    def __init__(self, registry: Registry, compatibility: Sequence[str] = ()) -> None:
        self._compatibility = compatibility
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
        from pillion import exposition  # noqa: PLC0415 - see the module's docstring

        models = [self._models[key] for key in sorted(self._models)]
        yield from exposition.runtime_families(models, self._statuses(), self._limits)
        if self._compatibility:
            from pillion import compatibility_metrics  # noqa: PLC0415 - as above

            yield from compatibility_metrics.families(self._compatibility, models)
