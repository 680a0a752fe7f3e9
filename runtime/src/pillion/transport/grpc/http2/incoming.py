"""What comes in on a connection: frames, and what each of them asks for (RFC 9113, sections 4 to 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.budget import Budget
from pillion.transport.grpc.http2.header_blocks import HeaderBlocks, fragment
from pillion.transport.grpc.http2.outgoing import MAX_FRAME
from pillion.transport.grpc.http2.wire import ConnectionFault, ErrorCode, StreamFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.transport.grpc.http2.leaving import Leaving
    from pillion.transport.grpc.http2.limits import ConnectionLimits
    from pillion.transport.grpc.http2.open_streams import OpenStreams
    from pillion.transport.grpc.http2.outgoing import Outgoing
    from pillion.transport.grpc.http2.pings import Pings

__all__ = ["Incoming"]


class Incoming:
    """Takes the bytes of one connection.

    Args:
        limits: bounds.
        out: to the client.
        streams: of the connection.
        leaving: is told when the client knows that it is to leave.
        pings: answers those of the client.
    """

    def __init__(
        self, limits: ConnectionLimits, out: Outgoing, streams: OpenStreams, leaving: Leaving, pings: Pings
    ) -> None:
        self._limits = limits
        self._out = out
        self._streams = streams
        self._by_number = streams.by_number
        self._leaving = leaving
        self._pings = pings
        self._blocks = HeaderBlocks(limits)
        self._rest = b""
        self._greeted = False
        self._settled = False
        self._began = streams.now
        self._window = limits.connection_window
        self._credit = 0
        self._free = Budget(limits.free_frames, limits.free_frames_per_second, self._began)
        self._resets = Budget(limits.resets, limits.resets_per_second, self._began)
        self._frames: dict[int, Callable[[int, int, bytes], None]] = {
            wire.DATA: self._on_data,
            wire.HEADERS: self._on_headers,
            wire.PRIORITY: self._on_priority,
            wire.RST_STREAM: self._on_reset,
            wire.SETTINGS: self._on_settings,
            wire.PUSH_PROMISE: self._on_push_promise,
            wire.PING: self._on_ping,
            wire.GOAWAY: self._on_goaway,
            wire.WINDOW_UPDATE: self._on_window_update,
            wire.CONTINUATION: self._on_continuation,
        }

    def take(self, data: bytes) -> None:
        """Take bytes, wherever they are cut.

        Raises:
            ConnectionFault: the client has broken the protocol.
        """
        if self._rest:
            data = self._rest + data
        at = 0 if self._greeted else self._preface(data)
        self._rest = data[self._take_frames(data, at) :] if at >= 0 else data

    def sweep(self, now: float) -> None:
        """Look at the clock.

        Raises:
            ConnectionFault: the client has had too much time for what it began.
        """
        if not self._settled and now - self._began > self._limits.header_timeout:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 in time")
        if self._blocks.since is not None and now - self._blocks.since > self._limits.header_timeout:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block that does not end")

    def _preface(self, data: bytes) -> int:
        """Where frames begin; -1 where that is not known yet."""
        preface = wire.PREFACE
        if not data.startswith(preface):
            if preface.startswith(data):
                return -1
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HTTP/2 is spoken on this port, for gRPC")
        self._greeted = True
        return len(preface)

    def _take_frames(self, data: bytes, at: int) -> int:
        """Take each whole frame; gives where the first begins that is not whole."""
        end = len(data)
        while end - at >= 9:
            high, low, kind, flags, number = wire.read_head(data, at)
            length = high << 8 | low
            if length > MAX_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame longer than 16384 bytes")
            begin = at + 9
            if end - begin < length:
                break
            at = begin + length
            number &= 0x7FFFFFFF
            if self._blocks.since is not None and kind != wire.CONTINUATION:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame in the middle of a header block")
            if not self._settled:
                if kind != wire.SETTINGS:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
                self._settled = True
            try:
                if kind in self._frames:
                    self._frames[kind](flags, number, data[begin:at])
                else:
                    # Unknown ones are ignored (section 4.1).
                    self._spend_free()
            except StreamFault as fault:
                self._streams.fail(number, fault)
            if self._out.ended:
                break
        return at

    def _spend_free(self) -> None:
        """Count a frame that costs the client nothing and gets it nothing."""
        self._free.spend(self._streams.now, "frames that say nothing")

    # --- calls

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        if size:
            self._window -= size
            if self._window < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window allows")
            self._credit += size
            if self._credit * 2 >= self._limits.connection_window:
                self._window += self._credit
                self._out.give(0, self._credit)
                self._credit = 0
        elif not flags & wire.END_STREAM:
            self._spend_free()
        if flags & wire.PADDED:
            payload = wire.unpadded(payload)
        stream = self._by_number.get(number)
        if stream is None or stream.closed:
            self._streams.check_opened(number)
            if stream is None:
                # What was on its way when we ended the stream is no fault, but it is no use either.
                self._spend_free()
                self._out.write(wire.reset(number, ErrorCode.STREAM_CLOSED))
            return
        stream.data(payload, size)
        if flags & wire.END_STREAM and not stream.closed:
            stream.half_close()
            self._streams.begin(stream)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream of a client has an odd number")
        if flags & (wire.PADDED | wire.PRIORITISED):
            payload = fragment(flags, number, payload)
        if flags & wire.END_HEADERS:
            self._on_block(flags, number, payload)
        else:
            self._blocks.begin(flags, number, payload, self._streams.now)

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        whole = self._blocks.go_on(flags, number, payload)
        if whole is not None:
            self._on_block(whole[0], number, whole[1])

    def _on_block(self, flags: int, number: int, block: bytes) -> None:
        fields = self._blocks.decode(block)
        if number <= self._streams.last:
            self._on_trailers(flags, number)
            return
        self._streams.admit(number)
        if fields is None:
            self._streams.refuse_oversized(number)
        else:
            request, timeout = self._blocks.head(fields)
            self._streams.open(number, request, timeout, ended=bool(flags & wire.END_STREAM))

    def _on_trailers(self, flags: int, number: int) -> None:
        stream = self._by_number.get(number)
        if stream is None:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "headers of a stream that has ended")
        if stream.closed:
            return
        if not flags & wire.END_STREAM:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers that are not the end")
        stream.half_close()
        self._streams.begin(stream)

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
        self._streams.check_opened(number)
        stream = self._by_number.get(number)
        if stream is not None and not stream.answered:
            self._resets.spend(self._streams.now, "streams are reset")
            stream.cancel()

    # --- the connection

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
            change = self._out.set(name, value)
            if change:
                self._streams.widen(change)
        self._out.write(wire.frame(wire.SETTINGS, wire.ACK, 0))
        self._out.wake()

    def _on_push_promise(self, flags: int, number: int, payload: bytes) -> None:  # noqa: ARG002 - as above
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client cannot push")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a ping has eight bytes")
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a ping of a stream")
        if flags & wire.ACK:
            self._spend_free()
            self._leaving.pinged_back(payload)
        else:
            if self._by_number and not self._out.sent:
                self._spend_free()
            self._pings.answer(payload, self._streams.now, len(self._by_number))

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
            self._out.widen(increment)
        else:
            self._streams.check_opened(number)
            stream = self._by_number.get(number)
            if stream is None:
                return
            if increment == 0:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "an increment of 0")
            stream.widen(increment)
        self._out.wake()
