"""Sending traces: the event loop adds spans to a batch, a thread posts the batches; both are bounded.

Spans are made where the request has ended, on the loop, after its answer: twenty microseconds for those that are
sampled. Made in the thread, they would cost the loop more: two threads of Python that both have work take the
interpreter from each other by force, and a batch made in one go holds the loop up for milliseconds.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import ssl
import threading
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING, Final

from pillion._version import __version__
from pillion.posting import Poster
from pillion.tracing.endpoint import pairs
from pillion.tracing.spans import SpanBatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.tracing.endpoint import Endpoint
    from pillion.tracing.environment import TracingSettings
    from pillion.tracing.record import Attributes, TraceRecord

__all__ = ["TraceExport", "resource_of"]

_log: Final = logging.getLogger(__name__)
_LAST_SECONDS: Final = 5.0
_QUIET_SECONDS: Final = 60.0
_AGAIN: Final = frozenset({429, 502, 503, 504})
"""Answers after which a batch is sent again (OTLP, HTTP failures)."""
_LONGEST_PAUSE: Final = 5.0
_GZIP: Final = 16 + zlib.MAX_WBITS


def resource_of(environ: Mapping[str, str]) -> Attributes:
    """Who sends: ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``, and what is known without them."""
    given: dict[str, str] = {}
    try:
        given = pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    except ValueError as error:
        _log.warning("OTEL_RESOURCE_ATTRIBUTES: %r is not NAME=VALUE; none of them is taken", str(error))
    own: Attributes = {
        "service.name": "pillion",
        "service.version": __version__,
        "telemetry.sdk.name": "pillion",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
    }
    if environ.get("HOSTNAME"):
        own["service.instance.id"] = environ["HOSTNAME"]
    named: Attributes = {"service.name": environ["OTEL_SERVICE_NAME"]} if environ.get("OTEL_SERVICE_NAME") else {}
    return {**own, **given, **named}


class TraceExport:
    """See :class:`~pillion.tracing.tracer.TraceSink`.

    Raises:
        ValueError: the files of TLS cannot be used; the text says which.
    """

    def __init__(self, settings: TracingSettings, endpoint: Endpoint, resource: Attributes) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._resource = resource
        self._poster = Poster(endpoint.address, endpoint.timeout, _context(endpoint))
        self._headers = {"content-type": "application/x-protobuf", "user-agent": f"pillion/{__version__}"}
        self._headers |= endpoint.headers
        if endpoint.compress:
            self._headers["content-encoding"] = "gzip"
        self._lock = threading.Lock()
        self._batch = SpanBatch(resource)
        self._batches: deque[SpanBatch] = deque()
        self._waiting = 0
        """Traces in all of them, what is being sent included."""
        self._full = threading.Event()
        self._over = threading.Event()
        self._told = -_QUIET_SECONDS
        self.counts: dict[str, int] = {"exported": 0, "failed": 0, "dropped": 0}
        """Traces by what became of them."""
        self._thread = threading.Thread(target=self._run, name="pillion-traces", daemon=True)
        self._thread.start()

    def offer(self, record: TraceRecord) -> None:
        """Take one, or drop it where there is no room."""
        with self._lock:
            if self._waiting >= self._settings.max_queue:
                self.counts["dropped"] += 1
                return
            try:
                self._batch.add(record)
            except Exception:  # noqa: BLE001 - a value that no message can hold must not harm the request it tells of
                _log.exception("a trace could not be made")
                self.counts["failed"] += 1
                return
            self._waiting += 1
            if self._batch.traces < self._settings.max_batch:
                return
            self._cut()
        self._full.set()

    def close(self, seconds: float = _LAST_SECONDS) -> None:
        """Send what is left, for so many seconds at most. Blocks."""
        self._over.set()
        self._full.set()
        self._thread.join(seconds)

    def _cut(self) -> None:
        """Let the batch be sent as it is, and begin another."""
        if self._batch.traces:
            self._batches.append(self._batch)
            self._batch = SpanBatch(self._resource)

    def _run(self) -> None:
        while not self._over.is_set():
            self._full.wait(self._settings.interval)
            self._full.clear()
            self._send_all()
        self._send_all()
        self._poster.close()

    def _send_all(self) -> None:
        with self._lock:
            self._cut()
        while self._batches:
            batch = self._batches.popleft()
            sent = False
            try:
                sent = self._delivered(batch.serialised())
            except Exception:  # noqa: BLE001 - one bad batch must not end the thread that sends the others
                _log.exception("traces could not be sent")
            with self._lock:
                self._waiting -= batch.traces
                self.counts["exported" if sent else "failed"] += batch.traces

    def _delivered(self, body: bytes) -> bool:
        """Send one batch, again where OTLP says so and there is time."""
        if self._endpoint.compress:
            packer = zlib.compressobj(wbits=_GZIP)
            body = packer.compress(body) + packer.flush()
        until = time.monotonic() + self._endpoint.timeout
        pause = 0.5
        while True:
            asked = 0.0
            try:
                reply = self._poster.post(self._headers, body)
            except (OSError, http.client.HTTPException) as error:
                why = f"{type(error).__name__}: {error}"
            else:
                if 200 <= reply.status < 300:
                    return True
                why = f"the collector answered {reply.status}"
                if reply.status not in _AGAIN:
                    return self._tell(why)
                with contextlib.suppress(ValueError):
                    asked = float(reply.retry_after)
            pause = min(_LONGEST_PAUSE, max(pause * 2, asked))
            if time.monotonic() + pause >= until or self._over.wait(pause):
                return self._tell(why)

    def _tell(self, why: str) -> bool:
        """One line a minute: a collector that is away would fill the log."""
        now = time.monotonic()
        if now - self._told >= _QUIET_SECONDS:
            self._told = now
            _log.warning("traces do not reach their collector (next line in %.0f s): %s", _QUIET_SECONDS, why)
        return False


def _context(endpoint: Endpoint) -> ssl.SSLContext | None:
    if not endpoint.address.secure:
        return None
    try:
        context = ssl.create_default_context(cafile=endpoint.ca or None)
        if endpoint.client_certificate:
            context.load_cert_chain(endpoint.client_certificate, endpoint.client_key or None)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"OTEL_EXPORTER_OTLP_CERTIFICATE and its like: {error}") from error
    return context
