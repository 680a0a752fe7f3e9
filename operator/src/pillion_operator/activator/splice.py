"""Two connections made one: bytes go both ways as fast as the slower side takes them, until the connection is old."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pillion_operator.activator.http2 import AckFilter

__all__ = ["PIECE_BYTES", "READER_BYTES", "Age", "Stream", "bound", "splice"]

#: What is read at a time, and what may wait to be sent.
PIECE_BYTES: Final = 16_384
#: The limit of a StreamReader, which reads no more once it has twice as much.
READER_BYTES: Final = PIECE_BYTES // 2
#: What a side may still send after the other has ended.
_LINGER_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Stream:
    """One end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


def bound(stream: Stream) -> Stream:
    """Keep what is buffered of one end small, since there may be thousands."""
    transport = stream.writer.transport
    transport.set_write_buffer_limits(high=PIECE_BYTES)
    # Else asyncio reads 256 KiB at a time, whatever the reader's limit is.
    transport.max_size = PIECE_BYTES  # type: ignore[attr-defined]  # of asyncio's own transports
    return stream


@dataclass(frozen=True, slots=True)
class Age:
    """How old a connection may get: `limit` seconds, and `grace` more while something is on its way.

    Nothing is once the server's bytes were the last, and `quiet` seconds have gone by.
    """

    limit: float
    quiet: float
    grace: float


class _Traffic:
    """Who spoke last, and when. Bytes of the client are a request that is not answered yet, for all that we know."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self._asked = False
        self._sending = 0

    def note(self, *, by_client: bool) -> None:
        self._at = self._clock()
        self._asked = by_client

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Bytes that one side has not taken yet are on their way."""
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1
            self._at = self._clock()

    def quiet_in(self, quiet: float) -> float | None:
        """Return the seconds until it is quiet if nothing comes; None while something is on its way."""
        return None if self._asked or self._sending else max(0.0, self._at + quiet - self._clock())


async def splice(
    client: Stream, server: Stream, upward: AckFilter, downward: AckFilter, age: Age, clock: Callable[[], float]
) -> None:
    """Carry bytes until the server has ended, or both have, or one side broke, or the connection is too old."""
    traffic = _Traffic(clock)
    traffic.note(by_client=True)  # what was held has just been sent
    up = asyncio.create_task(_carry(client, server, upward, traffic, by_client=True))
    down = asyncio.create_task(_carry(server, client, downward, traffic, by_client=False))
    old = asyncio.create_task(_grow_old(traffic, age))
    try:
        await asyncio.wait({up, down, old}, return_when=asyncio.FIRST_COMPLETED)
        # A client that has said all still hears the answer; one that is gone does not, and the server is to know it.
        if up.done() and up.exception() is None:
            await asyncio.wait({down, old}, return_when=asyncio.FIRST_COMPLETED)
        if not old.done():
            await asyncio.wait({up, down}, timeout=_LINGER_SECONDS)
    finally:
        for task in (up, down, old):
            task.cancel()
        # Either side may leave at any time: that is no fault of ours.
        await asyncio.gather(up, down, old, return_exceptions=True)


async def _carry(source: Stream, sink: Stream, acks: AckFilter, traffic: _Traffic, *, by_client: bool) -> None:
    while data := await source.reader.read(PIECE_BYTES):
        traffic.note(by_client=by_client)
        passed = acks.feed(data)
        if passed:
            with traffic.sending():
                sink.writer.write(passed)
                # Nothing more is read until the other side has room.
                await sink.writer.drain()
    with traffic.sending():
        # What is not with the kernel yet would be lost when the connection is closed: a slow side takes its time.
        sink.writer.transport.set_write_buffer_limits(high=0)
        await sink.writer.drain()
    if sink.writer.can_write_eof():
        sink.writer.write_eof()


async def _grow_old(traffic: _Traffic, age: Age) -> None:
    await asyncio.sleep(age.limit)
    left, grace = traffic.quiet_in(age.quiet), age.grace
    while (left is None or left > 0) and grace > 0:
        pause = min(age.quiet if left is None else left, grace)
        await asyncio.sleep(pause)
        left, grace = traffic.quiet_in(age.quiet), grace - pause
