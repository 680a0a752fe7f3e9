"""Metrics of the server itself; those of models and requests are in :mod:`pillion.metrics`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pillion._version import __version__

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from pillion.metrics import Registry

__all__ = ["ServerMetrics"]


class ServerMetrics:
    """Registered once for each server. Event loop's thread only."""

    def __init__(self, registry: Registry) -> None:
        self._refused: dict[str, int] = {}
        self._connections: Callable[[], int] = int
        self._expiry = 0.0
        self._reloads = {"succeeded": 0, "failed": 0}
        self._config = {"succeeded": 0, "failed": 0}
        self._draining = 0
        self._forwarded = dict.fromkeys(("answered", "nowhere", "lost", "absent"), 0)
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing is computed at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        from pillion.exposition import counter, gauge  # noqa: PLC0415 - only who scrapes needs the client library

        yield gauge("pillion_build_info", "Version of the runtime.", 1, version=__version__)
        yield counter("pillion_http_refused", "Requests and connections refused by a limit.", "limit", self._refused)
        yield gauge("pillion_http_connections", "HTTP connections open now.", self._connections())
        yield gauge(
            "pillion_tls_certificate_expiry_timestamp_seconds",
            "End of validity of the certificate in use (Unix time); 0 without TLS.",
            self._expiry,
        )
        yield counter("pillion_tls_reloads", "Attempts to load changed TLS files.", "result", self._reloads)
        yield counter("pillion_config_reloads", "Attempts to apply a changed runtime.yaml.", "result", self._config)
        text = "Requests for models of other pods, by what became of them."
        yield counter("pillion_forwarded_requests", text, "result", self._forwarded)
        yield from _steps()
        yield gauge("pillion_draining", "1 while the process is draining.", self._draining)

    def http_connections(self, count: Callable[[], int]) -> None:
        """Where to read the number of open connections."""
        self._connections = count

    def refused(self, limit: str) -> None:
        """The engine refused because of ``limit``."""
        self._refused[limit] = self._refused.get(limit, 0) + 1

    def tls_expiry(self, moment: dt.datetime) -> None:
        """The certificate in use is valid until ``moment``."""
        self._expiry = moment.timestamp()

    def tls_reload(self, result: str) -> None:
        """Changed TLS files: ``succeeded`` or ``failed``."""
        self._reloads[result] += 1

    def config_reload(self, result: str) -> None:
        """A changed runtime.yaml: ``succeeded`` or ``failed``."""
        self._config[result] += 1

    def forwarded(self, result: str) -> None:
        """A request was passed on (``answered``, ``lost``, ``nowhere``), or came here in vain (``absent``)."""
        self._forwarded[result] += 1

    def draining(self) -> None:
        """The process began to drain."""
        self._draining = 1


def _steps() -> Iterator[Metric]:
    from pillion.exposition import step_family  # noqa: PLC0415 - as above

    measures = sys.modules.get("pillion.composition.measures")
    if measures is not None:  # a composition is served, or was
        yield step_family(measures.STEPS)
