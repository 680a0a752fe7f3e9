"""WebSocket connections: uvicorn's protocol, made to drain and to be cut as ours are. Imported with the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config

    from pillion.transport.http.engine import EngineState, HttpProtocol

__all__ = ["WebSocketProtocol", "upgrade"]


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A connection that has been upgraded. It stands among the HTTP connections of its server."""

    def shutdown(self) -> None:
        """Nothing: who has a call in progress is answered first, and a connection without one has ended."""

    def close_after_answer(self) -> None:
        """Nothing: a connection is for one call."""

    def cut(self) -> None:
        """End it now, with the code that says that the server restarts."""
        super().shutdown()


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
    made = WebSocketProtocol(config, state, {}, loop)
    state.connections.discard(connection)
    transport = connection.transport
    made.connection_made(transport)
    made.data_received(head)
    transport.set_protocol(cast("Any", made))
    return made
