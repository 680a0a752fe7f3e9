"""Header blocks of one connection: put together from their frames, decoded, and read as the head of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.hpack import Field, HeaderBlockError, HeaderDecoder, OversizedHeadersError
from pillion.transport.grpc.http2.outgoing import MAX_FRAME
from pillion.transport.grpc.http2.request import Request, request_of
from pillion.transport.grpc.http2.wire import ConnectionFault, ErrorCode

if TYPE_CHECKING:
    from pillion.transport.grpc.http2.limits import ConnectionLimits

__all__ = ["HeaderBlocks", "fragment"]

_KNOWN_REQUESTS: Final = 64
_KNOWN_BYTES: Final = 2048
"""Of metadata: what is larger is read anew with each call, so that nobody can fill memory with it."""
_CONTINUATIONS: Final = 16


def fragment(flags: int, number: int, payload: bytes) -> bytes:
    """What a HEADERS frame has of its block: without the padding, and without the priority, which nobody heeds.

    Raises:
        ConnectionFault: one of them is malformed.
    """
    if flags & wire.PADDED:
        payload = wire.unpadded(payload)
    if flags & wire.PRIORITISED:
        if len(payload) < 5:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a priority has five bytes")
        depends = int.from_bytes(payload[:4]) & 0x7FFFFFFF
        payload = payload[5:]
        if depends == number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
    return payload


class HeaderBlocks:
    """See the module.

    Args:
        limits: bounds.
    """

    __slots__ = ("_block", "_block_of", "_continued", "_decoder", "_max_bytes", "_requests", "since")

    def __init__(self, limits: ConnectionLimits) -> None:
        self._max_bytes = limits.max_metadata_bytes
        self._decoder = HeaderDecoder(limits.max_metadata_bytes)
        self._requests: dict[tuple[Field, ...], Request] = {}
        self._block = bytearray()
        self._block_of = (0, 0)
        self._continued = 0
        self.since: float | None = None
        """When the block began whose end is not there; None where no block is open."""

    def begin(self, flags: int, number: int, payload: bytes, now: float) -> None:
        """A block begins that goes on in further frames."""
        self._block = bytearray(payload)
        self._block_of = flags, number
        self._continued = 0
        self.since = now

    def go_on(self, flags: int, number: int, payload: bytes) -> tuple[int, bytes] | None:
        """Take its next frame; gives the flags that it began with and the block, once that is whole.

        Raises:
            ConnectionFault: no block of this stream is open, or it does not end.
        """
        if self.since is None or number != self._block_of[1]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a continuation of nothing")
        self._continued += 1
        self._block += payload
        if self._continued > _CONTINUATIONS or len(self._block) > self._max_bytes + MAX_FRAME:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block that does not end")
        if not flags & wire.END_HEADERS:
            return None
        block, self._block = bytes(self._block), bytearray()
        self.since = None
        return self._block_of[0], block

    def decode(self, block: bytes) -> list[Field] | None:
        """The fields of a block; None where they are more than allowed. Every block has to be decoded, also those of
        streams that are refused: the table is the connection's.

        Raises:
            ConnectionFault: it cannot be read.
        """
        try:
            return self._decoder.decode(block)
        except OversizedHeadersError:
            return None
        except HeaderBlockError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"a header block that cannot be read: {error}") from None

    def head(self, fields: list[Field]) -> tuple[Request, bytes | None]:
        """The head of a call, and its ``grpc-timeout``, which is taken out of the fields.

        Raises:
            StreamFault: the request is malformed.
        """
        timeout: bytes | None = None
        for index, field in enumerate(fields):
            if field[0] == b"grpc-timeout":
                timeout = field[1]
                del fields[index]
                break
        known = tuple(fields)
        request = self._requests.get(known)
        if request is None:
            request = request_of(fields)
            if sum(len(name) + len(value) for name, value in fields) <= _KNOWN_BYTES:
                if len(self._requests) >= _KNOWN_REQUESTS:
                    self._requests.clear()
                self._requests[known] = request
        return request, timeout
