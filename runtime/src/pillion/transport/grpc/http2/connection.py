"""One HTTP/2 connection: what its parts are, how it begins and how it ends (RFC 9113).

What guards it, in one place: a frame, a header block, a message, the windows, streams at a time, calls at a time and
bytes that wait to be sent have bounds; frames that cost the sender nothing are counted against a budget; a preface, a
header block, a message and an answer have to get on. Who goes over a bound of a stream loses the stream, who goes over
one of the connection is told by GOAWAY why, and loses the connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.incoming import Incoming
from pillion.transport.grpc.http2.leaving import Leaving
from pillion.transport.grpc.http2.open_streams import OpenStreams
from pillion.transport.grpc.http2.outgoing import DEFAULT_WINDOW, Outgoing
from pillion.transport.grpc.http2.pings import Pings
from pillion.transport.grpc.http2.wire import ConnectionFault, ErrorCode, Setting

if TYPE_CHECKING:
    from pillion.transport.grpc.http2.limits import ConnectionLimits
    from pillion.transport.grpc.http2.service import Service

__all__ = ["Connection"]


class Connection(asyncio.Protocol):
    """See the module.

    Args:
        service: answers the calls.
        limits: bounds.
        loop: that it runs on.
        age: seconds after which the client is asked to leave.
    """

    def __init__(self, service: Service, limits: ConnectionLimits, loop: asyncio.AbstractEventLoop, age: float) -> None:
        self._service = service
        self._limits = limits
        self._loop = loop
        self._out = Outgoing(loop)
        self._streams = OpenStreams(service, limits, loop, self._out)
        self._leaving = Leaving(limits, self._out, self._streams, self._streams.now + age)
        self._pings = Pings(limits, self._out)
        self._incoming = Incoming(limits, self._out, self._streams, self._leaving, self._pings)

    @property
    def peer(self) -> str:
        """The client's address as gRPC writes it."""
        return self._streams.peer

    @property
    def calls(self) -> int:
        """Streams that are open, and calls that have not ended yet."""
        return len(self._streams.by_number)

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # what listeners make
        """Greet, unless there are too many."""
        self._out.attach(transport)
        self._streams.peer = _peer(transport.get_extra_info("peername"))
        limits = self._limits
        self._out.write(
            wire.settings(
                {
                    Setting.MAX_CONCURRENT_STREAMS: limits.max_streams,
                    Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
                    Setting.MAX_HEADER_LIST_SIZE: limits.max_metadata_bytes,
                }
            )
            + wire.window_update(0, limits.connection_window - DEFAULT_WINDOW)
        )
        if not self._service.connected(self):
            self._fail(ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        """End the calls."""
        self._out.ended = True
        self._streams.cancel()
        self._out.wake()
        self._service.disconnected(self)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._out.pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._out.resume()

    def eof_received(self) -> bool:
        """Close: a client that has ended its side cannot open windows any more."""
        return False

    def data_received(self, data: bytes) -> None:
        """Take the frames."""
        if self._out.ended:
            return
        self._streams.now = self._loop.time()
        try:
            self._incoming.take(data)
        except ConnectionFault as fault:
            self._fail(fault)

    # --- ends

    def leave(self) -> None:
        """Ask the client to leave: streams that are on their way are still served, then those in progress end."""
        self._leaving.begin(self._loop.time())

    def cut(self) -> None:
        """End the calls now."""
        for stream in list(self._streams.by_number.values()):
            stream.fail(ErrorCode.CANCEL)
        self._out.write(wire.goaway(self._streams.last, ErrorCode.NO_ERROR))
        self._out.close()

    def abort(self) -> None:
        """Close without waiting for the client to read anything."""
        self._out.abort()

    def sweep(self, now: float) -> None:
        """Look at the clocks: called every half second or so."""
        limits, out = self._limits, self._out
        if out.full_since is not None and now - out.full_since > limits.body_timeout:
            out.abort()
            return
        if out.ended:
            if now - out.closing_since > limits.keepalive_timeout:
                out.abort()
            return
        try:
            self._incoming.sweep(now)
        except ConnectionFault as fault:
            self._fail(fault)
            return
        for stream in list(self._streams.by_number.values()):
            stream.hurry(now)
        if self._leaving.sweep(now):
            self.cut()
        self._pings.sweep(now, self._streams.now)

    def _fail(self, fault: ConnectionFault) -> None:
        self._out.write(wire.goaway(self._streams.last, fault.code, str(fault)))
        self._service.failed(self, fault)
        self._out.close()
        self._streams.cancel()


def _peer(address: object) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[0], address[1]
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
    return "unix:"
