"""A client of HTTP/2 that sends any bytes: what well-behaved clients do not do has to be written by hand."""

from __future__ import annotations

import asyncio
from typing import Self

from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.hpack import literal
from tests.waiting import WITHIN

__all__ = ["Frame", "RawClient", "head_of"]

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""


def head_of(path: str, **more: str) -> bytes:
    """The header block of a call."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
        "content-type": "application/grpc", "te": "trailers",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }  # fmt: skip
    return b"".join(literal(name.encode(), value.encode()) for name, value in fields.items())


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, *, greet: bool = True) -> Self:
        """Connect, and greet with empty settings unless told not to."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        if greet:
            client.send(wire.PREFACE + wire.settings({}))
        return client

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)

    def call(self, number: int, path: str, message: bytes, **more: str) -> None:
        """A whole unary call."""
        content = b"\0" + len(message).to_bytes(4) + message
        self.send(
            wire.frame(wire.HEADERS, wire.END_HEADERS, number, head_of(path, **more))
            + wire.frame(wire.DATA, wire.END_STREAM, number, content)
        )

    async def flush(self) -> None:
        """Wait until the kernel has taken nearly all."""
        await self._writer.drain()

    async def frame(self) -> Frame:
        """The next frame.

        Raises:
            asyncio.IncompleteReadError, ConnectionError: the server has closed.
        """
        async with asyncio.timeout(WITHIN):
            high, low, kind, flags, number = wire.read_head(await self._reader.readexactly(9), 0)
            return kind, flags, number, await self._reader.readexactly(high << 8 | low)

    async def frame_of(self, *kinds: int) -> Frame:
        """The next frame of one of these types; the others are dropped."""
        while True:
            found = await self.frame()
            if found[0] in kinds:
                return found

    async def fault(self) -> tuple[str, int, str]:
        """How the server ends the connection, or a stream: which, the code, and the sentence."""
        while True:
            kind, _, _, payload = await self.frame()
            if kind == wire.GOAWAY and (code := int.from_bytes(payload[4:8])):
                return "connection", code, payload[8:].decode()
            if kind == wire.RST_STREAM:
                return "stream", int.from_bytes(payload), ""

    async def closed(self) -> None:
        """Read until the server has closed."""
        async with asyncio.timeout(WITHIN):
            try:
                while await self._reader.read(65536):
                    pass
            except ConnectionError:
                pass

    def close(self) -> None:
        """Close without a farewell."""
        self._writer.transport.abort()
