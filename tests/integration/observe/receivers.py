"""What a server sends, received for real: an OTLP collector that decodes protobuf, and a sink of CloudEvents."""

from __future__ import annotations

import contextlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.waiting import until_now

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["Collector", "Received", "attributes", "collector", "receiver"]


class Received:
    """Requests in the order they came, and what is answered to them."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.port = 0
        self.gate = threading.Event()
        """Answers wait for it."""
        self.gate.set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def receiver(context: ssl.SSLContext | None = None) -> Iterator[Received]:
    """An HTTP server that keeps every POST; over TLS where there is a context."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            received.gate.wait(30)
            self.send_response(received.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A server that is killed resets its connections; anything else is a fault of the test's."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    received.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield received
    finally:
        received.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Collector:
    """Spans as a collector gets them."""

    def __init__(self, received: Received) -> None:
        self.received = received

    @property
    def environment(self) -> dict[str, str]:
        """What makes a server send its traces here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.received.url,
            "OTEL_SERVICE_NAME": "flowers",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
        }

    def resources(self) -> list[dict[str, Any]]:
        """The attributes of every sender."""
        return [attributes(group.resource) for message in self._messages() for group in message.resource_spans]

    def spans(self) -> list[Span]:
        """Every span so far."""
        return [
            span
            for message in self._messages()
            for group in message.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, name: str, count: int = 1) -> list[Span]:
        """The spans of that name, once there are so many."""
        found: list[Span] = []

        def there() -> bool:
            found[:] = [span for span in self.spans() if span.name == name]
            return len(found) >= count

        until_now(there)
        return found

    def below(self, span: Span) -> dict[str, Span]:
        """The children of a span, by name."""
        return {child.name: child for child in self.spans() if child.parent_span_id == span.span_id}

    def _messages(self) -> list[ExportTraceServiceRequest]:
        return [
            ExportTraceServiceRequest.FromString(body)
            for path, _, body in list(self.received.requests)
            if path == "/v1/traces"
        ]


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a port of its own."""
    with receiver() as received:
        yield Collector(received)


def attributes(holder: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    read: Callable[[Any], Any] = lambda value: getattr(value, value.WhichOneof("value"))  # noqa: E731 - one line of a test's reading
    return {entry.key: read(entry.value) for entry in holder.attributes}
