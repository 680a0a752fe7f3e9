"""One HTTP/1.1 connection: uvicorn's httptools protocol with the limits that it lacks.

uvicorn 0.54 bounds neither the size of the headers nor the time that headers and body may take, lets an idle client
hold a connection by sending blank lines, and answers errors in plain text. This subclass adds the limits of
:class:`~pillion.transport.http.limits.HttpLimits`, the refusals that RFC 9112 asks of a server behind proxies
(sections 3.2, 6.1 and 6.3: ambiguous length, missing or repeated Host), and the drain.

Nothing is added to a request that arrives in one piece but a few comparisons: clocks and timers start only once a
request turns out to be incomplete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pillion.transport.http import refusals
from pillion.transport.http.departure import Departure
from pillion.transport.http.stall import StallWatch
from pillion.transport.http.turn import HeldHeads, Turn

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from pillion.transport.http.limits import HttpLimits

__all__ = ["IDLE", "EngineState", "HttpProtocol"]

IDLE: Final = 0
"""Between requests."""
_HEAD: Final = 1
"""Request line or headers are incomplete."""
_BODY: Final = 2
"""Headers are complete, the body is not."""


class _RefusedError(Exception):
    """Raised in a parser callback to stop the parser; the reason is in ``HttpProtocol._refusal``."""


class EngineState(ServerState):
    """What all connections of one server share.

    Args:
        limits: bounds of each connection.
        refused: told the name of the limit whenever the engine refuses.
    """

    connections: set[HttpProtocol]  # type: ignore[assignment] # uvicorn names all of its own protocols

    def __init__(self, limits: HttpLimits, refused: Callable[[str], None]) -> None:
        super().__init__()
        self.limits = limits
        self.refused = refused
        self.turn = Turn()
        self.heads = HeldHeads()
        self.draining = False
        self.websockets = False
        """Whether connections may become WebSockets."""

    def drain(self) -> None:
        """From now on every answer carries ``Connection: close``; idle connections stay open for their next request."""
        self.draining = True
        for connection in self.connections:
            connection.close_after_answer()

    def close_idle(self) -> None:
        """Close connections without a request; the others close after their answer."""
        self.draining = True
        for connection in list(self.connections):
            connection.shutdown()


class HttpProtocol(HttpToolsProtocol):
    """A connection. Created by the listener, one for each accepted socket."""

    server_state: EngineState

    def __init__(self, config: Config, state: EngineState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, state, {}, loop)
        self._limits = state.limits
        self._phase = IDLE
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._pending_bytes = 0
        self._received = 0
        """Bytes of the read that is being parsed."""
        self._small_head = min(state.limits.max_header_bytes, state.limits.max_uri_bytes)
        """Bytes that no limit of a head is passed by."""
        self._first = True
        """Whether no request of this read has been held back to be answered with others."""
        self._body_bytes = 0
        self._hosts = 0
        self._content_length = 0
        self._chunked = False
        self._refusal: refusals.Refusal | None = None
        self._lingering = False
        self._stall: StallWatch | None = None
        self.departure = Departure()

    # --- connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        """Count the connection in, or refuse it."""
        super().connection_made(transport)
        self.departure.transport = transport
        if len(self.connections) > self._limits.max_connections:
            self._refuse(refusals.connections(self._limits.max_connections))
            return
        # A connection that never says anything is an idle one.
        self.timeout_keep_alive_task = self.loop.call_later(self._limits.keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop_stall()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self.departure.happened()

    def shutdown(self) -> None:
        """Close now if no request is in progress, else after its answer. A half-sent request is no request yet."""
        if self._lingering and not self._busy():
            self.transport.close()
            return
        super().shutdown()

    def close_after_answer(self) -> None:
        """Say ``Connection: close`` with the answer in progress, if there is one."""
        if self._busy():
            self.cycle.keep_alive = False

    def cut(self) -> None:
        """Give up the request in progress: say so where nothing has been answered yet, else end the connection."""
        self._unset_keepalive_if_required()
        if self._busy() and not self.cycle.response_started and not self.pipeline:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.write(refusals.answer(refusals.stopped()))
            self.transport.close()
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; start the clock if the request is still incomplete."""
        if self._lingering:
            return
        self._received = len(data)
        self._first = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # A protocol that is not offered is ignored, as RFC 9110 section 7.8 allows: the request is served as it is.
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return
        except httptools.HttpParserError as error:
            self._refuse(self._refusal or refusals.malformed(_why(error, data)))
            return
        if self._phase != IDLE:
            self._incomplete(self._received)

    # --- clocks

    def pause_writing(self) -> None:
        """The client is slower than its answer; from now on it has to take some of it now and then."""
        super().pause_writing()
        self._stall = StallWatch(self.loop, self.transport, self._limits.write_stall, self._stalled)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._stop_stall()
        super().resume_writing()

    def _stalled(self) -> None:
        self.server_state.refused("write_stall")
        self.transport.abort()

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.stop()
            self._stall = None

    def _incomplete(self, received: int) -> None:
        if self._phase == _HEAD:
            # The parser holds back a field until it is complete, so that on_header cannot see an endless one.
            self._pending_bytes += received
            if self._pending_bytes > self._limits.max_header_bytes + HIGH_WATER_LIMIT:
                self._refuse(self._oversized_head())
                return
        if self._since == 0.0:
            self._since = self.loop.time()
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        limits = self._limits
        if self._phase == _HEAD:
            due = self._since + limits.header_timeout
        else:
            due = self._since + limits.body_timeout + self._body_bytes / limits.min_body_rate
        self._timer = self.loop.call_at(due, self._overdue, due)

    def _overdue(self, due: float) -> None:
        self._timer = None
        if self._phase == IDLE or self._since == 0.0 or self.transport.is_closing():
            return
        limits = self._limits
        if self._phase == _BODY and self.flow.read_paused:
            # The application is slow to read, not the client to send.
            self._since = self.loop.time()
        elif self._phase == _HEAD and due >= self._since + limits.header_timeout:
            self._refuse(refusals.header_timeout(limits.header_timeout))
            return
        elif self._phase == _BODY and due >= (
            self._since + limits.body_timeout + self._body_bytes / limits.min_body_rate
        ):
            self._refuse(refusals.body_timeout(limits.body_timeout, limits.min_body_rate))
            return
        self._arm()

    # --- parser callbacks

    def on_message_begin(self) -> None:
        """A request starts; only now is the connection no longer idle."""
        self._unset_keepalive_if_required()
        self._begin_head()
        super().on_message_begin()

    def _begin_head(self) -> None:
        """Set the counters of a request to nothing."""
        self._phase = _HEAD
        self._since = 0.0
        self._pending_bytes = self._body_bytes = self._hosts = self._content_length = 0
        self._chunked = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field."""
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            self._content_length = int(value)
        elif name == b"transfer-encoding":
            self._chunked = True
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Refuse what is over a limit or ambiguous, before the application sees it."""
        limits = self._limits
        if self._pending_bytes + self._received > self._small_head:
            self._check_size()
        if len(self.headers) > limits.max_header_count:
            self._stop(refusals.header_count(limits.max_header_count))
        if self._hosts != 1 and (self._hosts > 1 or self.parser.get_http_version() == "1.1"):
            self._stop(refusals.malformed("one Host header is required"))
        if self._chunked and self.parser.get_http_version() == "1.0":
            self._stop(refusals.malformed("HTTP/1.0 has no Transfer-Encoding"))
        if self._content_length > limits.max_body_bytes and self._content_length > limits.body_of(self.url):
            self._stop(refusals.body(limits.body_of(self.url)))
        self._phase = _BODY
        self._since = 0.0
        self._begin_request()

    def _check_size(self) -> None:
        """Refuse a head that is too long, counted only where the bytes of its reads allow for that."""
        limits = self._limits
        if len(self.url) > limits.max_uri_bytes:
            self._stop(refusals.uri(limits.max_uri_bytes))
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > limits.max_header_bytes:
            self._stop(refusals.header_bytes(limits.max_header_bytes))

    def _begin_request(self) -> None:
        """Start the application."""
        # What else would tell of it takes a task for each request.
        self.scope["pillion.departure"] = self.departure  # type: ignore[typeddict-unknown-key]  # ASGI allows others
        super().on_headers_complete()
        if self.server_state.draining and self.cycle is not None:  # an upgrade makes none
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Hand a piece to the application; refuse a chunked body that outgrows the limit."""
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.max_body_bytes and self._body_bytes > self._limits.body_of(self.url):
            self._stop(refusals.body(self._limits.body_of(self.url)))
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._phase, self._since = IDLE, 0.0
        super().on_message_complete()
        if len(self.pipeline) == 1 and len(self.cycle.body) <= HIGH_WATER_LIMIT:
            # It waits behind another, and uvicorn reads no further. Read on, or nobody would see the client leave.
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Wait for the next request, or close when draining and nothing was pipelined."""
        super().on_response_complete()
        if self._phase != IDLE and not self.pipeline:
            # The next request has begun already: it is not idle time that runs.
            self._unset_keepalive_if_required()

    # --- refusing

    def _stop(self, refusal: refusals.Refusal) -> None:
        self._refusal = refusal
        raise _RefusedError(refusal.limit)

    def _oversized_head(self) -> refusals.Refusal:
        if not self.headers and len(self.url) > self._limits.max_uri_bytes:
            return refusals.uri(self._limits.max_uri_bytes)
        return refusals.header_bytes(self._limits.max_header_bytes)

    def _busy(self) -> bool:
        # None before the first request, which uvicorn's annotation leaves out.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _refuse(self, refusal: refusals.Refusal) -> None:
        """Answer, then read and drop what still comes for a moment, so that the sender sees the answer, and close."""
        self.server_state.refused(refusal.limit)
        self._unset_keepalive_if_required()
        self._lingering = True
        if self._busy():
            if self._phase != _BODY:
                # An earlier request is being answered: its answer goes out, the connection closes after it.
                self.cycle.keep_alive = False
                return
            if self.cycle.response_started or self.pipeline:
                self.transport.close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._phase = IDLE
        self.transport.write(refusals.answer(refusal))
        if refusal.limit == "connections":
            self.transport.close()
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(self._limits.linger, self.transport.close)

    def _should_upgrade_to_ws(self) -> bool:
        return self.server_state.websockets

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to a protocol for WebSockets."""
        from pillion.transport.http.websocket import upgrade  # noqa: PLC0415 - few servers ever see one

        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unset_keepalive_if_required()
        lines = [b"%b %b HTTP/1.1\r\n" % (self.scope["method"].encode(), self.url)]
        lines += [b"%b: %b\r\n" % header for header in self.headers]
        upgrade(self, self.config, self.server_state, self.loop, b"".join((*lines, b"\r\n")))

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: a client that offers h2c is served HTTP/1.1 (RFC 9110, section 7.8), which is no event."""


def _why(error: httptools.HttpParserError, data: bytes) -> str:
    """The parser's own words, but for the two mix-ups of ports that everybody makes once."""
    if data.startswith(b"PRI * HTTP/2.0"):
        return "HTTP/2 is not spoken on this port; gRPC has a port of its own"
    if data.startswith(b"\x16\x03"):
        return "a TLS handshake, but this port speaks plaintext: use http://"
    return str(error) or "cannot be parsed"
