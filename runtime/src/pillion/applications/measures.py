"""What is counted for applications: metrics ``pillion_application_*``. Event loop's thread only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.metrics import Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from pillion.metrics import Registry

__all__ = ["ApplicationMetrics", "Measures"]

_MOST_ROUTES: Final = 200
"""Routes of one application with series of their own; an application may make routes without end."""
OTHER: Final = "other"
"""Label of a request that no route took, and of what is beyond the bound."""


class Measures:
    """Of one application."""

    __slots__ = ("durations", "healthy", "ongoing", "queued", "requests", "sockets")

    def __init__(self, ongoing: Callable[[], int], queued: Callable[[], int]) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.durations: dict[str, Distribution] = {}
        self.sockets = 0
        """WebSockets that are open."""
        self.healthy: Callable[[], bool] | None = None
        """What its ``check_health`` said last, where it has one."""
        self.ongoing = ongoing
        self.queued = queued

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        duration = self.durations.get(route)
        if duration is None:
            if not route or len(self.durations) >= _MOST_ROUTES:
                route = OTHER
            duration = self.durations.setdefault(route, Distribution())
        key = (route, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        duration.observe(seconds)


class ApplicationMetrics:
    """Those of all applications of one server."""

    def __init__(self, registry: Registry) -> None:
        self._applications: dict[str, Measures] = {}
        registry.register(self)

    def add(self, name: str, measures: Measures) -> None:
        """Show those of an application from now on."""
        self._applications[name] = measures

    def describe(self) -> Iterable[Metric]:
        """Nothing is computed at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        from prometheus_client.core import (  # noqa: PLC0415 - only who scrapes needs the client library
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        labels = ("application", "route")
        requests = CounterMetricFamily(
            "pillion_application_requests", "Requests of applications that have ended", labels=(*labels, "code")
        )
        durations = HistogramMetricFamily(
            "pillion_application_request_duration_seconds", "From arrival to the end of the answer", labels=labels
        )
        ongoing = GaugeMetricFamily(
            "pillion_application_requests_in_flight", "Requests that run now", labels=("application",)
        )
        queued = GaugeMetricFamily("pillion_application_queue_depth", "Requests that wait now", labels=("application",))
        sockets = GaugeMetricFamily("pillion_application_websockets", "WebSockets open now", labels=("application",))
        healthy = GaugeMetricFamily(
            "pillion_application_healthy", "1 where its check_health said so last", labels=("application",)
        )
        for name, measures in sorted(self._applications.items()):
            for (route, code), count in sorted(measures.requests.items()):
                requests.add_metric((name, route, str(code)), count)
            for route, duration in sorted(measures.durations.items()):
                durations.add_metric((name, route), duration.buckets(), duration.total)
            ongoing.add_metric((name,), measures.ongoing())
            queued.add_metric((name,), measures.queued())
            sockets.add_metric((name,), measures.sockets)
            if measures.healthy is not None:
                healthy.add_metric((name,), float(measures.healthy()))
        yield from (requests, durations, ongoing, queued, sockets, healthy)
