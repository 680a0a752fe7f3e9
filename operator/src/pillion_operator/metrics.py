"""The operator's metrics, in a registry that is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

__all__ = ["OperatorMetrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class OperatorMetrics:
    """What Prometheus sees of the operator."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "pillion_operator_api_requests",
            "Requests to the API server, by verb, kind and status; status 0: no answer.",
            ("verb", "kind", "status"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            "pillion_operator_api_request_seconds",
            "How long requests to the API server took.",
            ("verb",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._reconciles = Counter(
            "pillion_operator_reconciles", "Reconciles, by result.", ("result",), registry=registry
        )
        self._reconcile_seconds = Histogram(
            "pillion_operator_reconcile_seconds", "How long reconciles took.", buckets=_SECONDS, registry=registry
        )
        self._repairs = Counter(
            "pillion_operator_repairs",
            "Children that were edited or deleted by others and set right.",
            registry=registry,
        )
        self._events = Counter(
            "pillion_operator_watch_events", "What the watches delivered, by kind.", ("kind",), registry=registry
        )
        self._missed = Counter(
            "pillion_operator_watch_missed",
            "Changes that the periodic list found and the watch had not delivered, by kind.",
            ("kind",),
            registry=registry,
        )
        self._restarts = Counter(
            "pillion_operator_watch_restarts", "How often the watches were started anew.", registry=registry
        )
        self._leader = Gauge("pillion_operator_leader", "Whether this replica leads.", registry=registry)
        self._depth = Gauge("pillion_operator_queue_depth", "Keys that wait for a worker.", registry=registry)
        self._oldest = Gauge(
            "pillion_operator_queue_oldest_seconds", "How long the first key has waited.", registry=registry
        )
        self._services = Gauge("pillion_operator_inferenceservices", "InferenceServices known.", registry=registry)

    def request(self, verb: str, kind: str, status: int, seconds: float) -> None:
        """Count one request to the API server."""
        self._requests.labels(verb, kind, str(status)).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def reconciled(self, result: str, seconds: float) -> None:
        """Count one reconcile; result is `ok`, `retry` or `failed`."""
        self._reconciles.labels(result).inc()
        self._reconcile_seconds.observe(seconds)

    def repaired(self, number: int) -> None:
        """Count children that were set right."""
        self._repairs.inc(number)

    def event(self, kind: str) -> None:
        """Count one object that a watch delivered."""
        self._events.labels(kind).inc()

    def missed(self, kind: str, number: int) -> None:
        """Count changes that only the list found."""
        self._missed.labels(kind).inc(number)

    def watch_restarted(self) -> None:
        """Count one new start of the watches."""
        self._restarts.inc()

    def gauges(
        self,
        *,
        leader: Callable[[], bool],
        depth: Callable[[], int],
        oldest: Callable[[], float],
        services: Callable[[], int],
    ) -> None:
        """Have the gauges read these when they are scraped."""
        self._leader.set_function(lambda: float(leader()))
        self._depth.set_function(lambda: float(depth()))
        self._oldest.set_function(oldest)
        self._services.set_function(lambda: float(services()))
