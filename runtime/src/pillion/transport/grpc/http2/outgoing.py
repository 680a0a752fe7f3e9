"""What goes out on a connection: frames, as far as the client and the kernel take them now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.wire import ConnectionFault, ErrorCode, Setting

if TYPE_CHECKING:
    import asyncio

__all__ = ["DEFAULT_WINDOW", "MAX_FRAME", "Outgoing"]

DEFAULT_WINDOW: Final = 65_535
MAX_FRAME: Final = 16_384
"""The least that a receiver can allow, and what we allow."""
_MOST_BUFFERED: Final = 256 * 1024
"""Bytes that wait for the kernel to take them; then answers wait, and nothing more is read."""
_TABLE: Final = 4096
"""Size of the table that a client keeps for our fields, unless it says less. We put nothing into it."""


class Outgoing:
    """Writes to the transport of one connection, and keeps what the client has said about how.

    Args:
        loop: that the connection runs on.
    """

    __slots__ = (
        "_loop",
        "_tell_table",
        "_told_table",
        "_transport",
        "_waiting",
        "closing_since",
        "ended",
        "full_since",
        "max_frame",
        "sent",
        "stream_window",
        "window",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._tell_table = False
        self._told_table = False
        self.window = DEFAULT_WINDOW
        """Bytes that the client takes now on all streams together."""
        self.stream_window = DEFAULT_WINDOW
        """Those that it takes on a stream that begins."""
        self.max_frame = MAX_FRAME
        self.sent = False
        """Whether an answer has been sent since the client's last ping."""
        self.full_since: float | None = None
        """Since when the kernel takes no more."""
        self.ended = False
        """Whether nothing is sent any more."""
        self.closing_since = 0.0

    # --- the transport

    def attach(self, transport: asyncio.Transport) -> None:
        """Write to this one."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_MOST_BUFFERED)

    def pause(self) -> None:
        """The client does not read: wait with answers, and read nothing that would make more of them."""
        self.full_since = self._loop.time()
        if self._transport is not None and not self.ended:
            self._transport.pause_reading()

    def resume(self) -> None:
        """It reads again."""
        self.full_since = None
        if self._transport is not None and not self.ended:
            self._transport.resume_reading()
        self.wake()

    def close(self) -> None:
        """Send what is written, and no more."""
        if self._transport is not None and not self.ended:
            self.ended = True
            self.closing_since = self._loop.time()
            self._transport.close()

    def abort(self) -> None:
        """Close without waiting for the client to read anything."""
        if self._transport is not None:
            self._transport.abort()

    # --- frames

    def write(self, data: bytes | memoryview) -> None:
        """Send."""
        if self._transport is not None and not self.ended:
            self._transport.write(data)

    def write_fields(self, number: int, fields: bytes, flags: int) -> None:
        """Send a header block, in as many frames as it needs."""
        if self._tell_table:
            # RFC 7541, section 4.2: who is allowed less says so before the next field.
            self._tell_table, self._told_table = False, True
            fields = b"\x20" + fields
        kind, at, size = wire.HEADERS, 0, self.max_frame
        while len(fields) - at > size:
            self.write(wire.frame(kind, flags, number, fields[at : at + size]))
            kind, flags, at = wire.CONTINUATION, 0, at + size
        self.write(wire.frame(kind, flags | wire.END_HEADERS, number, fields[at:]))

    def give(self, number: int, increment: int) -> None:
        """Let the client send so many bytes more."""
        self.write(wire.window_update(number, increment))

    # --- room

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be sent now in one frame, between fields that need no preparation."""
        return size <= self.window and size <= self.max_frame and self.full_since is None and not self._tell_table

    def room(self) -> int:
        """Bytes that can be sent now."""
        return self.window if self.full_since is None else 0

    async def changed(self) -> None:
        """Wait until there may be more room."""
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def wake(self) -> None:
        """There may be more room."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)

    def widen(self, increment: int) -> None:
        """The client takes so many bytes more on all streams together.

        Raises:
            ConnectionFault: none, or more than there can be.
        """
        if increment == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "an increment of 0")
        self.window += increment
        if self.window > wire.LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window larger than 2^31-1")

    def set(self, name: int, value: int) -> int:
        """Take a setting of the client; gives by how much the windows of its open streams change.

        Raises:
            ConnectionFault: it is out of bounds.
        """
        if name == Setting.HEADER_TABLE_SIZE and value < _TABLE and not self._told_table:
            self._tell_table = True
        elif name == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        elif name == Setting.MAX_FRAME_SIZE:
            if not MAX_FRAME <= value < 2**24:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of bounds")
            # Longer frames would only keep other streams waiting.
            self.max_frame = min(value, 4 * MAX_FRAME)
        elif name == Setting.INITIAL_WINDOW_SIZE:
            if value > wire.LARGEST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is out of bounds")
            change, self.stream_window = value - self.stream_window, value
            return change
        return 0
