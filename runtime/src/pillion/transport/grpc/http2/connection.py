"""One HTTP/2 connection: frames in, frames out, and what a client may ask for (RFC 9113).

What guards it, in one place: a frame, a header block, a message, the windows, streams at a time, calls at a time and
bytes that wait to be sent have bounds; frames that cost the sender nothing are counted against a budget; a preface, a
header block, a message and an answer have to get on. Who goes over a bound of a stream loses the stream, who goes over
one of the connection is told by GOAWAY why, and loses the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pillion.errors import PillionError
from pillion.transport.body_budget import SMALL
from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.budget import Budget
from pillion.transport.grpc.http2.hpack import Field, HeaderBlockError, HeaderDecoder, OversizedHeadersError
from pillion.transport.grpc.http2.request import Request, request_of, seconds_of
from pillion.transport.grpc.http2.stream import Stream
from pillion.transport.grpc.http2.wire import ConnectionFault, ErrorCode, Setting, StreamFault

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from pillion.transport.grpc.http2.limits import ConnectionLimits
    from pillion.transport.grpc.http2.service import Service

    Handler = grpc.RpcMethodHandler[Any, Any]

__all__ = ["Connection"]

_DEFAULT_WINDOW: Final = 65_535
_MAX_FRAME: Final = 16_384
"""The least that a receiver can allow, and what we allow."""
_MOST_BUFFERED: Final = 256 * 1024
"""Bytes that wait for the kernel to take them; then answers wait, and nothing more is read."""
_KNOWN_REQUESTS: Final = 64
_KNOWN_BYTES: Final = 2048
"""Of metadata: what is larger is read anew with each call, so that nobody can fill memory with it."""
_TABLE: Final = 4096
"""Size of the table that a client keeps for our fields, unless it says less. We put nothing into it."""
_CONTINUATIONS: Final = 16
_GOING: Final = b"goaway!!"
"""The content of the ping by whose answer a client shows that it knows of the GOAWAY."""
_ALIVE: Final = b"alive???"


class Connection(asyncio.Protocol):
    """See the module.

    Args:
        service: answers the calls.
        limits: bounds.
        loop: that it runs on.
        age: seconds after which the client is asked to leave.
    """

    def __init__(self, service: Service, limits: ConnectionLimits, loop: asyncio.AbstractEventLoop, age: float) -> None:
        self.loop = loop
        self.limits = limits
        self.peer = ""
        self.window = _DEFAULT_WINDOW
        """Bytes that the client takes now on all streams together."""
        self.max_frame = _MAX_FRAME
        self.sent = False
        """Whether an answer has been sent since the client's last ping."""
        self.now = loop.time()
        """When bytes came last."""
        self.bodies = service.bodies
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._greeted = False
        self._settled = False
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._decoder = HeaderDecoder(limits.max_metadata_bytes)
        self._requests: dict[tuple[Field, ...], Request] = {}
        self._block: bytearray | None = None
        self._block_of = (0, 0)
        self._continued = 0
        self._stream_window = _DEFAULT_WINDOW
        self._receive_window = limits.connection_window
        self._credit = 0
        self._full = False
        self._waiting: list[asyncio.Future[None]] = []
        self._untaken = 0
        self._put_off: deque[tuple[Stream, Handler]] = deque()
        self._ages_at = self.now + age
        self._leaving_since: float | None = None
        self._told_last = False
        self._ended = False
        self._since = self.now
        """When the preface, or the header block that is open, began."""
        self._full_since: float | None = None
        self._asked_alive: float | None = None
        self._strikes = 0
        self._last_ping = 0.0
        self._closing_since = 0.0
        self._tell_table = False
        self._told_table = False
        self._free = Budget(limits.free_frames, limits.free_frames_per_second, self.now)
        self._resets = Budget(limits.resets, limits.resets_per_second, self.now)
        self._frames: dict[int, Callable[[int, int, bytes], None]] = {
            wire.PRIORITY: self._on_priority,
            wire.RST_STREAM: self._on_reset,
            wire.SETTINGS: self._on_settings,
            wire.PUSH_PROMISE: self._on_push_promise,
            wire.PING: self._on_ping,
            wire.GOAWAY: self._on_goaway,
            wire.WINDOW_UPDATE: self._on_window_update,
            wire.CONTINUATION: self._on_continuation,
        }

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # what listeners make
        """Greet, unless there are too many."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_MOST_BUFFERED)
        self.peer = _peer(transport.get_extra_info("peername"))
        limits = self.limits
        self.write(
            wire.settings(
                {
                    Setting.MAX_CONCURRENT_STREAMS: limits.max_streams,
                    Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
                    Setting.MAX_HEADER_LIST_SIZE: limits.max_metadata_bytes,
                }
            )
            + wire.window_update(0, limits.connection_window - _DEFAULT_WINDOW)
        )
        if not self._service.connected(self):
            self._fail(ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        """End the calls."""
        self._ended = True
        for stream in list(self._streams.values()):
            stream.cancel()
        self._changed()
        self._service.disconnected(self)

    def pause_writing(self) -> None:
        """The client does not read: wait with answers, and read nothing that would make more of them."""
        self._full = True
        self._full_since = self.loop.time()
        if self._transport is not None and not self._ended:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._full = False
        self._full_since = None
        if self._transport is not None and not self._ended:
            self._transport.resume_reading()
        self._changed()

    def eof_received(self) -> bool:
        """Close: a client that has ended its side cannot open windows any more."""
        return False

    def data_received(self, data: bytes) -> None:
        """Take the frames."""
        if self._ended:
            return
        self.now = self.loop.time()
        self._asked_alive = None
        if self._rest:
            data = self._rest + data
        try:
            at = 0 if self._greeted else self._preface(data)
            self._rest = data[self._take(data, at) :] if at >= 0 else data
        except ConnectionFault as fault:
            self._fail(fault)

    # --- frames

    def _preface(self, data: bytes) -> int:
        """Where frames begin; -1 where that is not known yet."""
        preface = wire.PREFACE
        if not data.startswith(preface):
            if preface.startswith(data):
                return -1
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HTTP/2 is spoken on this port, for gRPC")
        self._greeted = True
        return len(preface)

    def _take(self, data: bytes, at: int) -> int:
        """Take each whole frame; gives where the first begins that is not whole."""
        end = len(data)
        while end - at >= 9:
            high, low, kind, flags, number = wire.read_head(data, at)
            length = high << 8 | low
            if length > _MAX_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame longer than 16384 bytes")
            begin = at + 9
            if end - begin < length:
                break
            at = begin + length
            number &= 0x7FFFFFFF
            payload = data[begin:at]
            if self._block is not None and kind != wire.CONTINUATION:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame in the middle of a header block")
            if not self._settled:
                if kind != wire.SETTINGS:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
                self._settled = True
            try:
                if kind == wire.DATA:
                    self._on_data(flags, number, payload)
                elif kind == wire.HEADERS:
                    self._on_headers(flags, number, payload)
                elif kind in self._frames:
                    self._frames[kind](flags, number, payload)
                else:
                    # Unknown ones are ignored (section 4.1).
                    self._spend_free()
            except StreamFault as fault:
                self._fail_stream(number, fault)
            if self._ended:
                return at
        return at

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        if size:
            self._receive_window -= size
            if self._receive_window < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window allows")
            self._credit += size
            if self._credit * 2 >= self.limits.connection_window:
                self._receive_window += self._credit
                self.give(0, self._credit)
                self._credit = 0
        elif not flags & wire.END_STREAM:
            self._spend_free()
        if flags & wire.PADDED:
            payload = _unpadded(payload)
        stream = self._streams.get(number)
        if stream is None or stream.closed:
            self._unknown(number)
            if stream is None:
                # What was on its way when we ended the stream is no fault, but it is no use either.
                self._spend_free()
                self.write(wire.reset(number, ErrorCode.STREAM_CLOSED))
            return
        stream.data(payload, size)
        if flags & wire.END_STREAM and not stream.closed:
            stream.half_close()
            self._begin(stream)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream of a client has an odd number")
        if flags & wire.PADDED:
            payload = _unpadded(payload)
        if flags & wire.PRIORITISED:
            if len(payload) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a priority has five bytes")
            depends = int.from_bytes(payload[:4]) & 0x7FFFFFFF
            payload = payload[5:]
            if depends == number:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
        if flags & wire.END_HEADERS:
            self._on_block(flags, number, payload)
            return
        self._block = bytearray(payload)
        self._block_of = flags, number
        self._continued = 0
        self._since = self.now

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None or number != self._block_of[1]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a continuation of nothing")
        self._continued += 1
        self._block += payload
        if self._continued > _CONTINUATIONS or len(self._block) > self.limits.max_metadata_bytes + _MAX_FRAME:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block that does not end")
        if flags & wire.END_HEADERS:
            block, self._block = bytes(self._block), None
            self._on_block(self._block_of[0], number, block)

    def _on_block(self, flags: int, number: int, block: bytes) -> None:
        oversized = False
        fields: list[Field] = []
        try:
            # Always, also for streams that are refused: the table is the connection's.
            fields = self._decoder.decode(block)
        except OversizedHeadersError:
            oversized = True
        except HeaderBlockError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"a header block that cannot be read: {error}") from None
        if number <= self._last:
            self._on_trailers(flags, number)
            return
        self._last = number
        if self._told_last or len(self._streams) >= self.limits.max_streams:
            raise StreamFault(ErrorCode.REFUSED_STREAM, "no more streams")
        timeout: bytes | None = None
        for index, field in enumerate(fields):
            if field[0] == b"grpc-timeout":
                timeout = field[1]
                del fields[index]
                break
        request = self._request(fields) if not oversized else Request("", ())
        stream = Stream(self, number, request, self._stream_window)
        self._streams[number] = stream
        if oversized:
            self._service.oversized(stream)
            return
        if timeout is not None:
            try:
                stream.limit_time(seconds_of(timeout))
            except ValueError:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "grpc-timeout is no time") from None
        if flags & wire.END_STREAM:
            stream.half_close()
        self._service.opened(stream)
        if flags & wire.END_STREAM and not stream.closed:
            self._begin(stream)

    def _request(self, fields: list[Field]) -> Request:
        known = tuple(fields)
        request = self._requests.get(known)
        if request is None:
            request = request_of(fields)
            if sum(len(name) + len(value) for name, value in fields) <= _KNOWN_BYTES:
                if len(self._requests) >= _KNOWN_REQUESTS:
                    self._requests.clear()
                self._requests[known] = request
        return request

    def _on_trailers(self, flags: int, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "headers of a stream that has ended")
        if stream.closed:
            return
        if not flags & wire.END_STREAM:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers that are not the end")
        stream.half_close()
        self._begin(stream)

    def _begin(self, stream: Stream) -> None:
        """Start a call whose request is complete."""
        handler = stream.handler
        if handler is not None and not stream.closed:
            stream.handler = None
            self._service.begin(stream, handler)

    def _on_priority(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002 - frames are taken alike
        self._spend_free()
        if number == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the connection has no priority")
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "a priority has five bytes")
        if int.from_bytes(payload[:4]) & 0x7FFFFFFF == number:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002 - as above
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a reset has four bytes")
        self._unknown(number)
        stream = self._streams.get(number)
        if stream is not None and not stream.answered:
            if not self._resets.spend(self.now):
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams are reset")
            stream.cancel()

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        self._spend_free()
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "settings of a stream")
        if flags & wire.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement is empty")
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "settings are six bytes each")
        for name, value in wire.read_settings(payload):
            self._set(name, value)
        self.write(wire.frame(wire.SETTINGS, wire.ACK, 0))
        self._changed()

    def _set(self, name: int, value: int) -> None:
        if name == Setting.HEADER_TABLE_SIZE and value < _TABLE and not self._told_table:
            self._tell_table = True
        elif name == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        elif name == Setting.MAX_FRAME_SIZE:
            if not _MAX_FRAME <= value < 2**24:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of bounds")
            # Longer frames would only keep other streams waiting.
            self.max_frame = min(value, 4 * _MAX_FRAME)
        elif name == Setting.INITIAL_WINDOW_SIZE:
            if value > wire.LARGEST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is out of bounds")
            change, self._stream_window = value - self._stream_window, value
            for stream in self._streams.values():
                try:
                    stream.widen(change)
                except StreamFault as fault:
                    raise ConnectionFault(fault.code, str(fault)) from None

    def _on_push_promise(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002 - as above
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client cannot push")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a ping has eight bytes")
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a ping of a stream")
        if flags & wire.ACK:
            self._spend_free()
            if payload == _GOING:
                self._tell_last()
            return
        # Clients measure the way by pings while answers come. Else, and as gRPC asks of servers (gRFC A8), pings that
        # are too frequent end the connection.
        if self.sent:
            self.sent = False
            self._strikes = 0
        elif self._streams:
            self._spend_free()
        elif self.now - self._last_ping < self.limits.min_ping_interval:
            self._strikes += 1
            if self._strikes > self.limits.ping_strikes:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        self._last_ping = self.now
        self.write(wire.frame(wire.PING, wire.ACK, 0, payload))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002 - as above
        self._spend_free()
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a farewell of a stream")
        # The client opens no more streams; calls in progress are finished, and it closes.

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002 - as above
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an increment has four bytes")
        increment = int.from_bytes(payload) & 0x7FFFFFFF
        if number == 0:
            if increment == 0:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "an increment of 0")
            self.window += increment
            if self.window > wire.LARGEST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window larger than 2^31-1")
        else:
            self._unknown(number)
            stream = self._streams.get(number)
            if stream is None:
                return
            if increment == 0:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "an increment of 0")
            stream.widen(increment)
        if self._waiting:
            self._changed()

    def _unknown(self, number: int) -> None:
        """Raise where a frame is of a stream that was never opened."""
        if number == 0 or number > self._last or number % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame of a stream that is not open")

    def _spend_free(self) -> None:
        """Count a frame that costs the client nothing and gets it nothing."""
        if not self._free.spend(self.now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that say nothing")

    # --- for streams

    def write(self, data: bytes | memoryview) -> None:
        """Send."""
        if self._transport is not None and not self._ended:
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

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be sent now in one frame, between fields that need no preparation."""
        return size <= self.window and size <= self.max_frame and not self._full and not self._tell_table

    def room(self) -> int:
        """Bytes that can be sent now."""
        return 0 if self._full else self.window

    async def changed(self) -> None:
        """Wait until there may be more room."""
        waiting = self.loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def forget(self, stream: Stream) -> None:
        """The stream has ended, on both sides and in here."""
        self._streams.pop(stream.number, None)
        if self._put_off:
            self._put_off = deque(one for one in self._put_off if one[0] is not stream)
        if not self._streams and self._told_last:
            self._close()

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

    @property
    def calls(self) -> int:
        """Streams that are open, and calls that have not ended yet."""
        return len(self._streams)

    def _fail_stream(self, number: int, fault: StreamFault) -> None:
        stream = self._streams.get(number)
        if stream is None:
            self.write(wire.reset(number, fault.code))
        else:
            stream.fail(fault.code)

    def _fail(self, fault: ConnectionFault) -> None:
        self.write(wire.goaway(self._last, fault.code, str(fault)))
        self._service.failed(self, fault)
        self._close()
        for stream in list(self._streams.values()):
            stream.cancel()

    def _close(self) -> None:
        if self._transport is not None and not self._ended:
            self._ended = True
            self._closing_since = self.loop.time()
            self._transport.close()

    def leave(self) -> None:
        """Ask the client to leave: streams that are on their way are still served, then those in progress end."""
        if self._leaving_since is None and not self._ended:
            self._leaving_since = self.loop.time()
            self.write(wire.goaway(wire.LARGEST_WINDOW, ErrorCode.NO_ERROR) + wire.frame(wire.PING, 0, 0, _GOING))

    def _tell_last(self) -> None:
        """Streams from now on are refused, and the connection is closed after those that are open."""
        if self._leaving_since is not None and not self._told_last and not self._ended:
            self._told_last = True
            self.write(wire.goaway(self._last, ErrorCode.NO_ERROR))
            if not self._streams:
                self._close()

    def cut(self) -> None:
        """End the calls now."""
        for stream in list(self._streams.values()):
            stream.fail(ErrorCode.CANCEL)
        self.write(wire.goaway(self._last, ErrorCode.NO_ERROR))
        self._close()

    def abort(self) -> None:
        """Close without waiting for the client to read anything."""
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """Look at the clocks: called every half second or so."""
        limits = self.limits
        if self._full_since is not None and now - self._full_since > limits.body_timeout:
            self.abort()
            return
        if self._ended:
            if now - self._closing_since > limits.keepalive_timeout:
                self.abort()
            return
        try:
            self._sweep_incoming(now)
        except ConnectionFault as fault:
            self._fail(fault)
            return
        for stream in list(self._streams.values()):
            stream.hurry(now)
        if self._leaving_since is None:
            if now >= self._ages_at:
                self.leave()
        elif now - self._leaving_since > limits.max_age_grace:
            self.cut()
        elif now - self._leaving_since > limits.keepalive_timeout:
            # A client that does not answer pings is told the last stream all the same.
            self._tell_last()
        self._keep_alive(now)

    def _sweep_incoming(self, now: float) -> None:
        if not self._settled and now - self._since > self.limits.header_timeout:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 in time")
        if self._block is not None and now - self._since > self.limits.header_timeout:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block that does not end")

    def _keep_alive(self, now: float) -> None:
        limits = self.limits
        if self._asked_alive is not None:
            if now - self._asked_alive > limits.keepalive_timeout:
                self.abort()
        elif now - self.now > limits.keepalive_time:
            self._asked_alive = now
            self.write(wire.frame(wire.PING, 0, 0, _ALIVE))


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than content")
    return payload[1 : len(payload) - payload[0]]


def _peer(address: object) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[0], address[1]
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
    return "unix:"
