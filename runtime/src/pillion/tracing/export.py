"""Sending traces: a bounded queue that the event loop appends to, and a thread that makes spans and sends them by OTLP.

The SDK's own batch processor takes spans that are made, and drops the oldest without a count; here the loop hands over
numbers, the thread does the making, and what is dropped is a metric.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pillion._version import __version__
from pillion.tracing.spans import spans_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.tracing.environment import TracingSettings
    from pillion.tracing.record import TraceRecord

__all__ = ["TraceExport", "resource_of"]

_log: Final = logging.getLogger(__name__)
_LAST_SECONDS: Final = 5.0


def resource_of(environ: Mapping[str, str]) -> Resource:
    """Who sends: ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``, and what is known without them."""
    own = {SERVICE_NAME: "pillion", "service.version": __version__}
    if environ.get("HOSTNAME"):
        own["service.instance.id"] = environ["HOSTNAME"]
    return Resource.create(own).merge(OTELResourceDetector().detect())


class TraceExport:
    """See :class:`~pillion.tracing.tracer.TraceSink`.

    Args:
        settings: of the environment.
        resource: who sends.
        exporter: what sends spans, blocking; by default OTLP over HTTP as the environment says.
    """

    def __init__(self, settings: TracingSettings, resource: Resource, exporter: SpanExporter | None = None) -> None:
        self._settings = settings
        self._resource = resource
        self._exporter = exporter or OTLPSpanExporter()
        self._waiting: deque[TraceRecord] = deque()
        self._full = threading.Event()
        self._over = False
        self.counts: dict[str, int] = {"exported": 0, "failed": 0, "dropped": 0}
        """Traces by what became of them."""
        self._thread = threading.Thread(target=self._run, name="pillion-traces", daemon=True)
        self._thread.start()

    def offer(self, record: TraceRecord) -> None:
        """Take one, or drop it where the queue is full."""
        if len(self._waiting) >= self._settings.max_queue:
            self.counts["dropped"] += 1
            return
        self._waiting.append(record)
        if len(self._waiting) >= self._settings.max_batch:
            self._full.set()

    def close(self, seconds: float = _LAST_SECONDS) -> None:
        """Send what is left, for so many seconds at most. Blocks."""
        self._over = True
        self._full.set()
        self._thread.join(seconds)
        self._exporter.shutdown()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._over:
            self._full.wait(self._settings.interval)
            self._full.clear()
            while self._waiting:
                self._send()
        while self._waiting:
            self._send()

    def _send(self) -> None:
        records = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._settings.max_batch))]
        try:
            spans = [span for record in records for span in spans_of(record, self._resource)]
            sent = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - one bad batch must not end the thread that sends the others
            _log.exception("traces could not be sent")
            sent = False
        self.counts["exported" if sent else "failed"] += len(records)
