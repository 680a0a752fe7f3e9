"""The private socket between a supervisor and a front worker: length, MessagePack."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

__all__ = ["Channel", "framed", "receive", "send"]

_HEADER = 4
_ENCODER = msgspec.msgpack.Encoder()

M = TypeVar("M")


def framed(message: msgspec.Struct) -> bytes:
    """The message with its length in front."""
    body = _ENCODER.encode(message)
    return len(body).to_bytes(_HEADER, "little") + body


def send(connection: socket.socket, message: msgspec.Struct) -> None:
    """Send a message where no event loop runs. Blocks."""
    connection.setblocking(True)
    connection.sendall(framed(message))


def receive(connection: socket.socket, decoder: msgspec.msgpack.Decoder[M]) -> M:
    """Wait for a message where no event loop runs.

    Raises:
        EOFError: the other side has ended.
    """
    length = int.from_bytes(_exactly(connection, _HEADER), "little")
    return decoder.decode(_exactly(connection, length))


def _exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = connection.recv(count - len(received))
        if not piece:
            raise EOFError
        received += piece
    return bytes(received)


class Channel(Generic[M]):
    """One end, on an event loop.

    Args:
        connection: connected to the other end.
        decoder: of what comes.
    """

    def __init__(self, connection: socket.socket, decoder: msgspec.msgpack.Decoder[M]) -> None:
        self._socket = connection
        self._decoder = decoder
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Begin to read and write on the running loop."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._socket)

    def send(self, message: msgspec.Struct) -> None:
        """Send a message; lost where the other side has ended. What is sent is small and seldom: nothing waits."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(framed(message))

    async def messages(self) -> AsyncIterator[M]:
        """What comes, until the other side ends.

        Raises:
            msgspec.DecodeError: it is of another version.
        """
        if self._reader is None:
            raise RuntimeError("the channel is not open")
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(_HEADER), "little")
                yield self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def close(self) -> None:
        """Let what was sent leave, and end."""
        if self._writer is None:
            self._socket.close()
            return
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
