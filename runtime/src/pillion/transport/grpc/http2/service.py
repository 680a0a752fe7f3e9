"""What the connections of one server share: the methods, the count of calls, and who is connected."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc

from pillion.transport.grpc.http2.call import ServedCall
from pillion.transport.grpc.http2.hpack import literal
from pillion.transport.grpc.http2.messages import CODINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.transport.body_budget import BodyBudget
    from pillion.transport.grpc.guard import Guard
    from pillion.transport.grpc.http2.connection import Connection
    from pillion.transport.grpc.http2.stream import Stream
    from pillion.transport.grpc.http2.wire import ConnectionFault

    Handler = grpc.RpcMethodHandler[Any, Any]

__all__ = ["Service"]

_log: Final = logging.getLogger("pillion.grpc")
_STATUS: Final = {405: b"405", 415: b"415"}


class _Details(NamedTuple):
    """As :class:`grpc.HandlerCallDetails`."""

    method: str
    invocation_metadata: Any


class Service:
    """Finds and begins calls.

    Args:
        handlers: asked in their order for a method's handler.
        guard: asks for a key.
        bodies: bytes of messages in memory at a time, in both directions.
        max_connections: at a time.
        max_calls: at a time.
    """

    def __init__(
        self,
        handlers: Sequence[grpc.GenericRpcHandler],
        guard: Guard | None,
        bodies: BodyBudget,
        max_connections: int,
        max_calls: int,
    ) -> None:
        self._handlers = handlers
        self._guard = guard
        self.bodies = bodies
        self._max_connections = max_connections
        self._max_calls = max_calls
        self._calls = 0
        self.connections: set[Connection] = set()

    @property
    def calls(self) -> int:
        """Calls in progress."""
        return self._calls

    def connected(self, connection: Connection) -> bool:
        """Count a connection in; False where there are too many."""
        self.connections.add(connection)
        return len(self.connections) <= self._max_connections

    def disconnected(self, connection: Connection) -> None:
        """Count it out."""
        self.connections.discard(connection)

    def failed(self, connection: Connection, fault: ConnectionFault) -> None:
        """Say why a connection ends that its client has broken."""
        _log.debug("connection of %s ended: %s", connection.peer, fault)

    def oversized(self, stream: Stream) -> None:
        """Refuse a call with more metadata than allowed."""
        self._refuse(stream, grpc.StatusCode.RESOURCE_EXHAUSTED, "Received metadata is larger than the limit")

    def opened(self, stream: Stream) -> None:
        """Find the method. A call whose client may send many messages begins now, others with their message."""
        request = stream.request
        if request.refusal:
            stream.refuse(literal(b":status", _STATUS[request.refusal]))
            stream.cancel()
            return
        if request.encoding not in (b"identity", b"gzip", b"deflate"):
            self._refuse(
                stream,
                grpc.StatusCode.UNIMPLEMENTED,
                "This grpc-encoding is not known here",
                literal(b"grpc-accept-encoding", CODINGS),
            )
            return
        if self._full(stream):
            return
        handler = self._find(_Details(request.path, request.metadata))
        if handler is None:
            self._refuse(stream, grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        elif handler.request_streaming:
            self.begin(stream, handler)
        else:
            stream.handler = handler

    def begin(self, stream: Stream, handler: Handler) -> None:
        """Begin a call whose request is complete, or comes in many messages; later, where its client does not take the
        answers that there are.
        """
        # Asked again: while requests came in, and while others waited for their client, more calls have begun.
        if stream.put_off(handler) or self._full(stream):
            return
        self._calls += 1
        message = None if handler.request_streaming or handler.response_streaming else stream.inbox.only_message()
        stream.start(ServedCall(stream, handler).run(message), self._ended)

    def _ended(self) -> None:
        self._calls -= 1

    def _full(self, stream: Stream) -> bool:
        """Refuse a call where as many are in progress as may be."""
        if self._calls < self._max_calls:
            return False
        self._refuse(stream, grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
        return True

    def _refuse(self, stream: Stream, code: grpc.StatusCode, sentence: str, trailers: bytes = b"") -> None:
        stream.end(code, sentence, trailers)
        stream.cancel()

    def _find(self, details: Any) -> Handler | None:  # noqa: ANN401 - grpc's own
        for handlers in self._handlers:
            found = handlers.service(details)
            if found is not None:
                return found if self._guard is None else self._guard.guarded(found, details)
        return None
