"""What tells of requests beyond metrics: traces, by OpenTelemetry's variables, and the log of payloads, by settings."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from typing import TYPE_CHECKING, Final

from pillion.server.failures import ExitCode, StartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from pillion.metrics import Registry
    from pillion.payload.log import PayloadLog
    from pillion.payload.sender import Sender
    from pillion.server.settings import LoggerSettings, Settings
    from pillion.tracing.export import TraceExport
    from pillion.tracing.tracer import Tracer

__all__ = ["Observability"]

_log: Final = logging.getLogger(__name__)
_LAST_SECONDS: Final = 3.0
_NEEDED: Final = "opentelemetry.proto.collector.trace"
_REMEDY: Final = 'install them: pip install "pillion[tracing]"'


class Observability:
    """Both, each None where it is off. Their libraries are imported only where they are on.

    Args:
        settings: all of them.
        environ: OpenTelemetry's variables.
        registry: where it is counted what became of traces and events.

    Raises:
        StartError: the payload log's settings cannot be used.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str], registry: Registry) -> None:
        self.tracer, self._export = _traced(environ)
        self.payloads, self._sender = _kept(settings.logger)
        if self._export is not None or self._sender is not None:
            registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing is computed at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """What became of traces and events."""
        from pillion.exposition import counter, gauge  # noqa: PLC0415 - only who scrapes needs the client library

        if self._export is not None:
            yield counter("pillion_traces", "Traces of requests, by what became of them", "result", self._export.counts)
        if self._sender is not None:
            text = "Events of the payload log, by what became of them"
            yield counter("pillion_payload_events", text, "result", dict(self._sender.counts))
            yield gauge("pillion_payload_events_waiting", "Events that wait to be sent", self._sender.waiting)

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        parts = [part for part in (self._export, self._sender) if part is not None]
        await asyncio.gather(*(asyncio.to_thread(part.close, _LAST_SECONDS) for part in parts))


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _traced(environ: Mapping[str, str]) -> tuple[Tracer | None, TraceExport | None]:
    if not any(name.startswith("OTEL_") for name in environ):
        return None, None
    from pillion.tracing.environment import tracing_settings  # noqa: PLC0415 - only who sets such variables needs it

    tracing, warnings = tracing_settings(environ)
    for warning in warnings:
        _log.warning("%s", warning)
    if tracing is None:
        return None, None
    if not _installed(_NEEDED):
        _log.warning("OpenTelemetry's variables ask for traces, whose libraries are missing here: %s", _REMEDY)
        return None, None
    from pillion.tracing.endpoint import endpoint_of  # noqa: PLC0415 - only who traces needs it
    from pillion.tracing.export import TraceExport, resource_of  # noqa: PLC0415 - as above
    from pillion.tracing.tracer import Tracer  # noqa: PLC0415 - as above

    try:
        export = TraceExport(tracing, endpoint_of(environ), resource_of(environ))
    except ValueError as error:
        _log.warning("%s. Tracing is off", error)
        return None, None
    return Tracer(tracing, export), export


def _kept(logger: LoggerSettings) -> tuple[PayloadLog | None, Sender | None]:
    if not logger.url:
        return None, None
    from pillion.payload.log import PayloadLog  # noqa: PLC0415 - only where there is a sink
    from pillion.payload.options import PayloadOptions  # noqa: PLC0415 - as above
    from pillion.payload.sender import Sender  # noqa: PLC0415 - as above

    options = PayloadOptions(
        url=logger.url,
        mode=logger.mode,
        encoding=logger.encoding,
        share=logger.share,
        metadata_headers=logger.metadata_headers,
        annotations=logger.annotations,
        source=logger.source,
        service=logger.service,
        namespace=logger.namespace,
        component=logger.component,
        endpoint=logger.endpoint,
        max_events=logger.max_events,
        max_bytes=logger.max_bytes,
        connections=logger.connections,
        timeout=logger.timeout_seconds,
        ca=logger.ca,
        bearer_token=logger.bearer_token,
        allow_loopback=logger.allow_loopback,
    )
    try:
        sender = Sender(options)
    except ValueError as error:
        raise StartError(ExitCode.USAGE, str(error)) from error
    return PayloadLog(options, sender), sender
