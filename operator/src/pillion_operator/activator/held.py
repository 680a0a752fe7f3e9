"""What is held of connections that wait, and its bounds: of one connection, and of all together.

What is not read stays with the network, which makes the client wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pillion_operator.activator.http2 import Http2Error
from pillion_operator.activator.opening import Opening
from pillion_operator.activator.splice import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.activator.http2 import AckFilter
    from pillion_operator.activator.splice import Stream

__all__ = ["GoneError", "HeldBytes", "Hold"]


class GoneError(Exception):
    """The client has left before there was a server for it."""


class HeldBytes:
    """How much all connections together hold. `changed` is told of each change."""

    def __init__(self, most: int, changed: Callable[[int], None]) -> None:
        self._most = most
        self._changed = changed
        self._used = 0
        self._room = asyncio.Event()
        self._room.set()

    def add(self, count: int) -> None:
        """Take note of so many more, or less."""
        self._used += count
        self._changed(self._used)
        if self._used < self._most:
            self._room.set()
        else:
            self._room.clear()

    async def room(self) -> None:
        """Return once there is room for a piece more; those who come to it together may each bring one."""
        await self._room.wait()


class Hold:
    """What one client has sent so far. A first piece is always taken, so that whoever asks for a pod is heard."""

    def __init__(self, together: HeldBytes, most: int) -> None:
        self._together = together
        self._most = most
        self._opening = Opening()
        self._counted = 0

    @property
    def is_http_1(self) -> bool:
        """Whether the client understands an answer of plain HTTP/1."""
        return self._opening.is_http_1

    async def until_it_wakes(self, client: Stream) -> None:
        """Return once a pod is asked for.

        Raises:
            GoneError: the client has left.
            Http2Error: it is HTTP/2 that nobody could serve, or asks for nothing without end.
        """
        while not self._opening.wakes:
            if self._opening.size > self._most:
                raise Http2Error(f"{self._opening.size} bytes of frames without a request")
            await self._listen(client)

    async def until_it_leaves(self, client: Stream) -> None:
        """Listen on as long as there is room.

        Raises:
            GoneError: the client has left.
            Http2Error: it is HTTP/2 that nobody could serve.
        """
        while self._opening.size < self._most:
            await self._listen(client)
        await asyncio.Event().wait()

    def release(self) -> tuple[bytes, AckFilter, AckFilter]:
        """Return what the server is to hear first, and the filters of what client and server send from then on."""
        return self._opening.release()

    def forget(self) -> None:
        """Hold nothing any more."""
        self._opening = Opening()
        self._together.add(-self._counted)
        self._counted = 0

    async def _listen(self, client: Stream) -> None:
        if self._opening.size >= PIECE_BYTES:
            await self._together.room()
        data = await client.reader.read(PIECE_BYTES)
        if not data:
            raise GoneError
        answer = self._opening.feed(data)
        more = self._opening.size - self._counted
        self._counted += more
        self._together.add(more)
        if answer:
            client.writer.write(answer)
            await client.writer.drain()
