"""The streams of one connection: which may open, which calls begin, and which wait for their client."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pillion.errors import PillionError
from pillion.transport.body_budget import SMALL
from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.request import Request, seconds_of
from pillion.transport.grpc.http2.stream import Stream
from pillion.transport.grpc.http2.wire import ConnectionFault, ErrorCode, StreamFault

if TYPE_CHECKING:
    import asyncio

    import grpc

    from pillion.transport.grpc.http2.limits import ConnectionLimits
    from pillion.transport.grpc.http2.outgoing import Outgoing
    from pillion.transport.grpc.http2.service import Service

    Handler = grpc.RpcMethodHandler[Any, Any]

__all__ = ["OpenStreams"]

_NOBODY: Final = Request("", ())
"""The head of a call whose metadata was too much to be read."""


class OpenStreams:
    """See the module.

    Args:
        service: answers the calls.
        limits: bounds.
        loop: that the connection runs on.
        out: to its client.
    """

    __slots__ = (
        "_put_off",
        "_service",
        "_untaken",
        "bodies",
        "by_number",
        "last",
        "limits",
        "loop",
        "now",
        "out",
        "peer",
        "refusing",
    )

    def __init__(
        self, service: Service, limits: ConnectionLimits, loop: asyncio.AbstractEventLoop, out: Outgoing
    ) -> None:
        self._service = service
        self.limits = limits
        self.loop = loop
        self.out = out
        self.bodies = service.bodies
        self.peer = ""
        """The client's address as gRPC writes it."""
        self.now = loop.time()
        """When bytes came last."""
        self.by_number: dict[int, Stream] = {}
        self.last = 0
        """The highest number that a client has used."""
        self.refusing = False
        """Whether no stream opens any more, and the connection is closed after those that are open."""
        self._untaken = 0
        self._put_off: deque[tuple[Stream, Handler]] = deque()

    # --- opening

    def admit(self, number: int) -> None:
        """Let a stream open.

        Raises:
            StreamFault: there are too many, or the connection is to end.
        """
        self.last = number
        if self.refusing or len(self.by_number) >= self.limits.max_streams:
            raise StreamFault(ErrorCode.REFUSED_STREAM, "no more streams")

    def open(self, number: int, request: Request, timeout: bytes | None, *, ended: bool) -> None:
        """Open a stream that was admitted. ``ended`` says that the client sends nothing more.

        Raises:
            StreamFault: the request is malformed.
        """
        stream = self.by_number[number] = Stream(self, number, request)
        if timeout is not None:
            try:
                stream.limit_time(seconds_of(timeout))
            except ValueError:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "grpc-timeout is no time") from None
        if ended:
            stream.half_close()
        self._service.opened(stream)
        if ended:
            self.begin(stream)

    def refuse_oversized(self, number: int) -> None:
        """Answer a call that was admitted, with more metadata than allowed."""
        stream = self.by_number[number] = Stream(self, number, _NOBODY)
        self._service.oversized(stream)

    def begin(self, stream: Stream) -> None:
        """Start a call whose request is complete."""
        handler = stream.handler
        if handler is not None and not stream.closed:
            stream.handler = None
            self._service.begin(stream, handler)

    def widen(self, change: int) -> None:
        """Change the window of every stream, as the client's settings say.

        Raises:
            ConnectionFault: one becomes larger than there can be.
        """
        for stream in self.by_number.values():
            try:
                stream.widen(change)
            except StreamFault as fault:
                raise ConnectionFault(fault.code, str(fault)) from None

    def check_opened(self, number: int) -> None:
        """Whether a frame may be of this stream.

        Raises:
            ConnectionFault: it was never opened.
        """
        if number == 0 or number > self.last or number % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame of a stream that is not open")

    # --- answers that wait

    def wait_untaken(self, size: int) -> bool:
        """Count in so many bytes of an answer that waits for the client; False where the server has no room for them.

        Small ones are counted for the connection alone.
        """
        if size > SMALL:
            try:
                self.bodies.take(size)
            except PillionError:
                return False
        self._untaken += size
        return True

    def taken(self, size: int) -> None:
        """Count them out, and begin what has waited for that."""
        if size > SMALL:
            self.bodies.free(size)
        self._untaken -= size
        while self._put_off and self._untaken <= self.limits.max_untaken:
            stream, handler = self._put_off.popleft()
            if not stream.closed:
                self._service.begin(stream, handler)

    def put_off(self, stream: Stream, handler: Handler) -> bool:
        """Keep a call for later, where the client has not taken too many bytes of answers yet."""
        if self._untaken <= self.limits.max_untaken:
            return False
        self._put_off.append((stream, handler))
        return True

    # --- ends

    def fail(self, number: int, fault: StreamFault) -> None:
        """End a stream whose client has broken the protocol.

        Raises:
            ConnectionFault: the stream was never opened, and what is not there cannot be reset (RFC 9113, section 6.4).
        """
        stream = self.by_number.get(number)
        if stream is None:
            if number > self.last or number % 2 == 0:
                raise ConnectionFault(fault.code, str(fault))
            self.out.write(wire.reset(number, fault.code))
        else:
            stream.fail(fault.code)

    def cancel(self) -> None:
        """End all calls, and say nothing."""
        for stream in list(self.by_number.values()):
            stream.cancel()

    def forget(self, stream: Stream) -> None:
        """The stream has ended, on both sides and in here."""
        self.by_number.pop(stream.number, None)
        if self._put_off:
            self._put_off = deque(one for one in self._put_off if one[0] is not stream)
        if self.refusing and not self.by_number:
            self.out.close()

    def refuse_new(self) -> None:
        """Open no more, and close after those that are open."""
        self.refusing = True
        if not self.by_number:
            self.out.close()
