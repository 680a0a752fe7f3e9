"""WebSocket connections: uvicorn's protocol, made to drain and to be cut as ours are, and to notice who leaves.

uvicorn tells of a client's leaving by a message, to who reads messages, and reads no further from a connection while
one is waiting. So code that computes or waits for room in a full connection would not hear of it. Here reading goes on
a little ahead, and what watches the connection's :class:`~pillion.transport.http.departure.Departure` is called at
once. Imported with the first connection.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from pillion.transport.http.departure import Departure
from pillion.transport.http.stall import StallWatch

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from websockets.frames import Frame
    from websockets.http11 import Request

    from pillion.transport.http.engine import EngineState, HttpProtocol

__all__ = ["WebSocketProtocol", "upgrade"]

_AHEAD: Final = 64 * 1024
"""Bytes of messages that are received before anybody asks for them."""
_EACH: Final = 256
"""Bytes that a message counts for, besides its own."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A connection that has been upgraded. It stands among the HTTP connections of its server."""

    def __init__(self, config: Config, state: EngineState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, state, {}, loop)
        self._state = state
        self._ahead = 0
        self._sizes: deque[int] = deque()
        self._stall: StallWatch | None = None
        self.departure = Departure()

    # --- the server's

    def shutdown(self) -> None:
        """Nothing: who has a call in progress is answered first, and a connection without one has ended."""

    def close_after_answer(self) -> None:
        """Nothing: a connection is for one call."""

    def cut(self) -> None:
        """End it now, with the code that says that the server restarts."""
        super().shutdown()

    # --- its client leaves

    def handle_connect(self, event: Request) -> None:
        """Tell who answers where to hear of the client's leaving."""
        super().handle_connect(event)
        if self.handshake_initiated and not self.close_sent:
            self.scope["pillion.departure"] = self.departure  # type: ignore[typeddict-unknown-key] # ours

    def handle_close(self, event: Frame) -> None:
        """The client says that it leaves. What it has not taken by then it will not take."""
        full = not self.writable.is_set()
        super().handle_close(event)
        self.departure.happened()
        if full:
            self.transport.abort()

    def eof_received(self) -> None:
        """It has left without a word."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone; without a word of its client's that is 1006, as RFC 6455, section 7.1.5 has it."""
        self._stop_stall()
        if self.conn.close_rcvd is None:
            self.handshake_complete = False  # by which uvicorn chooses the code
        super().connection_lost(exc)
        self.departure.happened()

    # --- it is slow

    def pause_writing(self) -> None:
        """The client is slower than what is sent; from now on it has to take some of it now and then."""
        super().pause_writing()
        self._stall = StallWatch(self.loop, self.transport, self._state.limits.write_stall, self._stalled)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._stop_stall()
        super().resume_writing()

    def handle_ping(self) -> None:
        """Answer, unless the client takes nothing: it may send pings without end, and their answers would be kept."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # the answer is dropped

    def _stalled(self) -> None:
        self._state.refused("write_stall")
        self.transport.abort()

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.stop()
            self._stall = None

    # --- we are

    def send_receive_event_to_app(self) -> None:
        """Keep a message until it is asked for, and read on while little is kept."""
        size = sum(map(len, self.frames)) + _EACH
        super().send_receive_event_to_app()
        if self.close_sent:
            return
        self._sizes.append(size)
        self._ahead += size
        if self.read_paused and self._ahead < _AHEAD:
            self.read_paused = False
            self.transport.resume_reading()

    async def receive(self) -> Any:  # noqa: ANN401 - a message of ASGI
        """The next message."""
        message = await super().receive()
        if message["type"] == "websocket.receive":
            self._ahead -= self._sizes.popleft()
        return message

    async def send(self, message: Any) -> None:  # noqa: ANN401 - as above
        """Send a message. Who is answered otherwise than by a connection has been answered: uvicorn's log denies it."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def keepalive_timeout(self) -> None:
        """A pong has not come in time. While we do not read, that is not the client's fault."""
        if self.read_paused:
            self.pong_timer = None
            self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()


def upgrade(
    connection: HttpProtocol, config: Config, state: EngineState, loop: asyncio.AbstractEventLoop, head: bytes
) -> WebSocketProtocol:
    """What takes over from an HTTP connection whose request asks for it.

    Args:
        connection: which ends with that.
        config: of the listener; its limits are those of messages, too.
        state: of the listener.
        loop: the running one.
        head: the request again.
    """
    made = WebSocketProtocol(config, state, loop)
    state.connections.discard(connection)
    transport = connection.transport
    made.connection_made(transport)
    made.data_received(head)
    transport.set_protocol(cast("Any", made))
    return made
