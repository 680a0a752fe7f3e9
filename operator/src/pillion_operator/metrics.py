"""The operator's metrics, in a registry that is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import CollectorRegistry

__all__ = ["OperatorMetrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TRAINING_SECONDS = (10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0, 259200.0)


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
        self._refused = Gauge(
            "pillion_operator_lists_refused",
            "Kinds that the operator lacks the right to list, so that it is not ready; 1 for each.",
            ("kind",),
            registry=registry,
        )
        self._unanswered = Gauge(
            "pillion_operator_lists_unanswered",
            "Optional kinds that the cluster has and that cannot be listed; 1 for each.",
            ("kind",),
            registry=registry,
        )
        self._leader = Gauge("pillion_operator_leader", "Whether this replica leads.", registry=registry)
        self._depth = Gauge("pillion_operator_queue_depth", "Keys that wait for a worker.", registry=registry)
        self._oldest = Gauge(
            "pillion_operator_queue_oldest_seconds", "How long the first key has waited.", registry=registry
        )
        self._services = Gauge("pillion_operator_inferenceservices", "InferenceServices known.", registry=registry)
        self._trainings = Gauge(
            "pillion_operator_trainingjobs", "TrainingJobs known, by state.", ("state",), registry=registry
        )
        self._ended = Counter(
            "pillion_operator_trainings_ended",
            "Trainings whose end this replica has written down, by the state that they ended in.",
            ("result",),
            registry=registry,
        )
        self._training_seconds = Histogram(
            "pillion_operator_training_seconds",
            "How long those trainings took, from the start of their Job to their end.",
            ("result",),
            buckets=_TRAINING_SECONDS,
            registry=registry,
        )
        self._admissions = Counter(
            "pillion_operator_sidecar_admissions",
            "Pods with the sidecar's label that were looked at: changed, unchanged, denied, or failed for now.",
            ("outcome",),
            registry=registry,
        )
        self._batches = Gauge(
            "pillion_operator_batchpredictions", "BatchPredictions known, by state.", ("state",), registry=registry
        )

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

    def refused(self, kinds: Iterable[str]) -> None:
        """Show these as what may not be listed, and no others."""
        self._refused.clear()
        for kind in kinds:
            self._refused.labels(kind).set(1)

    def unanswered(self, kinds: Iterable[str]) -> None:
        """Show these as what does not answer, and no others."""
        self._unanswered.clear()
        for kind in kinds:
            self._unanswered.labels(kind).set(1)

    def watch_restarted(self) -> None:
        """Count one new start of the watches."""
        self._restarts.inc()

    def admitted(self, outcome: str) -> None:
        """Count one answer of the webhook."""
        self._admissions.labels(outcome).inc()

    def training_ended(self, result: str, seconds: float | None) -> None:
        """Count one training that has ended in that state; None where it never began."""
        self._ended.labels(result).inc()
        if seconds is not None:
            self._training_seconds.labels(result).observe(seconds)

    def gauges(
        self,
        *,
        leader: Callable[[], bool],
        depth: Callable[[], int],
        oldest: Callable[[], float],
        services: Callable[[], int],
        trainings: Mapping[str, Callable[[], int]],
        batches: Mapping[str, Callable[[], int]],
    ) -> None:
        """Have the gauges read these when they are scraped; `trainings` and `batches` have one for each state."""
        self._leader.set_function(lambda: float(leader()))
        self._depth.set_function(lambda: float(depth()))
        self._oldest.set_function(oldest)
        self._services.set_function(lambda: float(services()))
        for state, number in trainings.items():
            self._trainings.labels(state).set_function(number)
        for state, number in batches.items():
            self._batches.labels(state).set_function(number)
