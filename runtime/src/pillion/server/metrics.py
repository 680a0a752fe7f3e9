"""Metrics of the server itself; those of models and requests are in :mod:`pillion.metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

from pillion._version import __version__

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

__all__ = ["ServerMetrics"]


class ServerMetrics:
    """Registered once for each server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        info = Gauge("pillion_build_info", "Version of the runtime.", ["version"], registry=registry)
        info.labels(__version__).set(1)
        self._refused = Counter(
            "pillion_http_refused", "Requests and connections refused by a limit.", ["limit"], registry=registry
        )
        self._connections = Gauge("pillion_http_connections", "HTTP connections open now.", registry=registry)
        self._expiry = Gauge(
            "pillion_tls_certificate_expiry_timestamp_seconds",
            "End of validity of the certificate in use (Unix time); 0 without TLS.",
            registry=registry,
        )
        self._reloads = Counter(
            "pillion_tls_reloads", "Attempts to load changed TLS files.", ["result"], registry=registry
        )
        self._config = Counter(
            "pillion_config_reloads", "Attempts to apply a changed runtime.yaml.", ["result"], registry=registry
        )
        self._draining = Gauge("pillion_draining", "1 while the process is draining.", registry=registry)
        for result in ("succeeded", "failed"):
            self._reloads.labels(result)
            self._config.labels(result)

    def http_connections(self, count: Callable[[], int]) -> None:
        """Where to read the number of open connections."""
        self._connections.set_function(count)

    def refused(self, limit: str) -> None:
        """The engine refused because of ``limit``."""
        self._refused.labels(limit).inc()

    def tls_expiry(self, moment: dt.datetime) -> None:
        """The certificate in use is valid until ``moment``."""
        self._expiry.set(moment.timestamp())

    def tls_reload(self, result: str) -> None:
        """Changed TLS files: ``succeeded`` or ``failed``."""
        self._reloads.labels(result).inc()

    def config_reload(self, result: str) -> None:
        """A changed runtime.yaml: ``succeeded`` or ``failed``."""
        self._config.labels(result).inc()

    def draining(self) -> None:
        """The process began to drain."""
        self._draining.set(1)
