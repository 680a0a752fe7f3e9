"""The activator's metrics, in a registry that is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["ActivatorMetrics"]

_SECONDS = (0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class ActivatorMetrics:
    """What Prometheus sees of the activator."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge("pillion_activator_connections", "Connections that are open.", registry=registry)
        self.waiting = Gauge(
            "pillion_activator_waiting", "Connections that have asked for a pod and wait for it.", registry=registry
        )
        self.held = Gauge(
            "pillion_activator_held_bytes", "Bytes that are held of connections that wait.", registry=registry
        )
        self.woken = Counter("pillion_activator_wakes", "Deployments that were given a replica.", registry=registry)
        self.refused = Counter(
            "pillion_activator_refused",
            "Connections that were ended without a pod: too many of them, no pod in time, or no HTTP/2.",
            ("reason",),
            registry=registry,
        )
        self.distrusted = Gauge(
            "pillion_activator_slices_distrusted",
            "EndpointSlices that name this activator, and are not believed to be the operator's.",
            registry=registry,
        )
        self.waited = Histogram(
            "pillion_activator_wait_seconds",
            "How long connections waited for a pod.",
            buckets=_SECONDS,
            registry=registry,
        )
