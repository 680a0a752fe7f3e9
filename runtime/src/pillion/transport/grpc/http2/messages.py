"""Messages of a call as they come in: five bytes of prefix, then the message, cut anywhere (PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import zlib
from typing import Final

import grpc

__all__ = ["CODINGS", "PREFIX", "Coded", "MessageFault", "Messages"]

PREFIX: Final = 5
"""Bytes: whether the message is compressed, and its length."""
CODINGS: Final = b"identity,deflate,gzip"
_WINDOW_BITS: Final = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}


class MessageFault(Exception):  # noqa: N818 - what it is: the caller is told by a status
    """The call ends with a status, because of a message."""

    def __init__(self, status: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Coded(bytes):
    """A message as it travelled. Expanded only when it is read: a thousand times its size would else wait in memory,
    and the windows, which count what travelled, would not hold that back.
    """

    __slots__ = ()


class Messages:
    """Puts the pieces of one call's messages together.

    Args:
        max_bytes: of one message, before and after it is expanded.
        encoding: of compressed messages.
    """

    __slots__ = ("_buffer", "_compressed", "_encoding", "_length", "_max")

    def __init__(self, max_bytes: int, encoding: bytes) -> None:
        self._max = max_bytes
        self._encoding = encoding
        # One buffer, not a list of pieces: a client may send a byte at a time, and an object a byte is fifty bytes.
        self._buffer = bytearray()
        self._length = -1
        self._compressed = False

    @property
    def received(self) -> int:
        """Bytes of the message that has begun and not ended; 0 between messages."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that end in ``data``; compressed ones are :class:`Coded`.

        Raises:
            MessageFault: one is too large.
        """
        buffer = self._buffer
        if not buffer and len(data) >= PREFIX and data[0] == 0:
            # The usual case: one message, whole.
            length = int.from_bytes(data[1:PREFIX])
            if length + PREFIX == len(data) and length <= self._max:
                return [data[PREFIX:]]
        whole: list[bytes] = []
        buffer += data
        while len(buffer) >= PREFIX:
            if self._length < 0:
                self._begin()
            end = PREFIX + self._length
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                message = bytes(view[PREFIX:end])
            whole.append(Coded(message) if self._compressed else message)
            del buffer[:end]
            self._length = -1
        return whole

    def _begin(self) -> None:
        first = self._buffer[0]
        if first > 1:
            raise MessageFault(grpc.StatusCode.INTERNAL, "A message's first byte is neither 0 nor 1")
        self._compressed = first == 1
        self._length = int.from_bytes(self._buffer[1:PREFIX])
        if self._length > self._max:
            raise self._too_large(self._length)

    def expanded(self, message: Coded) -> bytes:
        """The message itself.

        Raises:
            MessageFault: it is too large, or cannot be expanded.
        """
        bits = _WINDOW_BITS.get(self._encoding)
        if bits is None:
            raise MessageFault(grpc.StatusCode.INTERNAL, "A message is compressed, and grpc-encoding does not say how")
        expander = zlib.decompressobj(bits)
        try:
            expanded = expander.decompress(message, self._max + 1)
        except zlib.error as error:
            raise MessageFault(grpc.StatusCode.INTERNAL, f"A message cannot be expanded: {error}") from None
        if len(expanded) > self._max:
            raise self._too_large(len(expanded))
        if not expander.eof:
            raise MessageFault(grpc.StatusCode.INTERNAL, "A compressed message is incomplete")
        return expanded

    def _too_large(self, length: int) -> MessageFault:
        return MessageFault(
            grpc.StatusCode.RESOURCE_EXHAUSTED, f"Received message larger than max ({length} vs. {self._max})"
        )
