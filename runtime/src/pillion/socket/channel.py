"""One connection of either side: messages out, by turns; messages in, as they become whole."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from pillion.socket.errors import ProtocolError
from pillion.socket.frames import GREETING_BYTES, MOST_BEGUN, PIECE, Assembler, frames, greeting, read_greeting
from pillion.socket.values import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pillion.socket.frames import Kind, Message
    from pillion.socket.values import Part

__all__ = ["Channel", "Outgoing", "Peer"]

_HIGH_WATER: Final = 512 * 1024
_LOOK_SECONDS: Final = 5.0


class Peer(Protocol):
    """Whose connection it is."""

    def made(self) -> None:
        """There is a connection."""
        ...

    def greeted(self, max_bytes: int) -> None:
        """The other side has said what it takes.

        Raises:
            ProtocolError: the connection is to end.
        """
        ...

    def received(self, messages: list[Message]) -> None:
        """Messages have come, or pieces of some.

        Raises:
            ProtocolError: the connection is to end.
        """
        ...

    def lost(self, error: Exception | None) -> None:
        """The connection has ended. Called once."""
        ...


class Outgoing:
    """A message on its way out."""

    __slots__ = ("_frames", "begun", "dropped", "kept", "on_begun", "on_written")

    def __init__(self, pieces: Iterator[list[Part]], size: int) -> None:
        self._frames = pieces
        self.kept = size if size > PIECE else 0
        """Bytes that the other side has to keep until it is whole; 0 where it goes in one piece."""
        self.begun = False
        self.dropped = False
        self.on_begun: Callable[[], None] | None = None
        self.on_written: Callable[[], None] | None = None

    def next(self) -> list[Part] | None:
        """Its next frame."""
        return None if self.dropped else next(self._frames, None)

    def drop(self) -> None:
        """Write no more of it."""
        self.dropped = True


class Channel(asyncio.Protocol):
    """See the module's docstring.

    Args:
        peer: whose it is.
        max_bytes: of a body that this side takes.
        stall_seconds: how long the other side may take over its greeting, and be silent within a message.
        cut_deaf: whether it is also cut when it takes nothing of what is sent to it for so long.
    """

    def __init__(self, peer: Peer, *, max_bytes: int, stall_seconds: float, cut_deaf: bool) -> None:
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._max_bytes = max_bytes
        self._assembler = Assembler(max_bytes, 2 * MOST_BEGUN)
        self._cut_deaf = cut_deaf
        self._stall_seconds = stall_seconds
        self._greeting: bytearray | None = bytearray()
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Outgoing] = deque()
        self._later: deque[Outgoing] = deque()
        """Large messages that begin when others have ended."""
        self._large = self._kept = 0
        """Large messages under way, and their bytes."""
        self._most_kept = 0
        self._scheduled = False
        self._held = False
        self._held_since = 0.0
        self._finishing = False
        self._reading = True
        self._heard = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # --- asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a stream was expected, not {type(transport).__name__}")
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        transport.write(greeting(self._max_bytes))
        self._peer.made()
        self._look()

    def data_received(self, data: bytes) -> None:
        """Make messages of it."""
        self._heard = self._loop.time()
        if self.closed.done():
            return
        try:
            if self._greeting is not None:
                data = self._greeted(data)
            messages = self._assembler.feed(data) if data else []
            if messages or self._assembler.amid:
                self._peer.received(messages)
        except ProtocolError as error:
            self.abort(error)

    def _greeted(self, data: bytes) -> bytes:
        greeted = self._greeting if self._greeting is not None else bytearray()
        greeted += data
        if len(greeted) < GREETING_BYTES:
            if not b"PILLSOCK".startswith(bytes(greeted[:8])):
                raise ProtocolError(f"the other side does not speak this protocol: it began with {bytes(greeted)!r}")
            return b""
        max_bytes = read_greeting(greeted)
        self._greeting = None
        self._most_kept = max_bytes
        self._peer.greeted(max_bytes)
        return bytes(greeted[GREETING_BYTES:])

    def eof_received(self) -> bool:
        """The other side sends no more: it is gone."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whose it is."""
        if self._watch is not None:
            self._watch.cancel()
        self._queue.clear()
        self._later.clear()
        if not self.closed.done():
            self.closed.set_result(None)
            self._peer.lost(exc)

    def pause_writing(self) -> None:
        """Write no more for now."""
        self._held = True
        self._held_since = self._loop.time()

    def resume_writing(self) -> None:
        """Go on."""
        self._held = False
        self._pump()

    # --- out

    def send(self, kind: Kind, number: int, parts: Sequence[Part] = (b"",), *, flags: int = 0) -> Outgoing:
        """Write a message, by turns with the others that wait."""
        outgoing = Outgoing(frames(kind, number, parts, flags=flags), size_of(parts))
        if outgoing.kept and (self._later or not self._may_begin(outgoing)):
            self._later.append(outgoing)
            return outgoing
        self._begin(outgoing)
        if not self._scheduled and not self._held:
            self._scheduled = True
            self._loop.call_soon(self._pump)  # what else is sent in this turn goes with it
        return outgoing

    def _pump(self) -> None:
        self._scheduled = False
        transport = self._transport
        while self._queue and not self._held and transport is not None and not transport.is_closing():
            batch: list[Part] = []
            size = 0
            while self._queue and size < PIECE:
                outgoing = self._queue.popleft()
                frame = outgoing.next()
                if frame is None:
                    if outgoing.kept:
                        self._ended_large(outgoing)
                    if outgoing.on_written is not None:
                        outgoing.on_written()
                    continue
                if not outgoing.begun:
                    outgoing.begun = True
                    if outgoing.on_begun is not None:
                        outgoing.on_begun()
                batch += frame
                size += sum(map(len, frame))
                self._queue.append(outgoing)
            if batch:
                transport.writelines(batch)
        if self._finishing and not self._queue:
            self.close()

    def _may_begin(self, outgoing: Outgoing) -> bool:
        """Whether the other side, which keeps the pieces of all that are under way, has room for one more."""
        return not self._large or (self._large < MOST_BEGUN and self._kept + outgoing.kept <= self._most_kept)

    def _begin(self, outgoing: Outgoing) -> None:
        if outgoing.kept:
            self._large += 1
            self._kept += outgoing.kept
        self._queue.append(outgoing)

    def _ended_large(self, outgoing: Outgoing) -> None:
        self._large -= 1
        self._kept -= outgoing.kept
        while self._later and (self._later[0].dropped or self._may_begin(self._later[0])):
            following = self._later.popleft()
            if not following.dropped:
                self._begin(following)

    # --- in

    def pause(self) -> None:
        """Read no more for now."""
        if self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = True
            self._heard = self._loop.time()
            self._transport.resume_reading()

    def _look(self) -> None:
        """End a connection whose other side has stopped within what it was saying."""
        now = self._loop.time()
        if self._cut_deaf and self._held and now - self._held_since >= self._stall_seconds:
            self.abort(
                TimeoutError(f"the other side took nothing for {self._stall_seconds:g} s of what was sent to it")
            )
            return
        silent = now - self._heard
        waiting = self._reading and (self._greeting is not None or self._assembler.within)
        if waiting and silent >= self._stall_seconds:
            what = "its greeting" if self._greeting is not None else "a message"
            self.abort(TimeoutError(f"the other side was silent for {self._stall_seconds:g} s within {what}"))
            return
        self._watch = self._loop.call_later(min(_LOOK_SECONDS, self._stall_seconds / 2), self._look)

    @property
    def amid(self) -> bool:
        """Whether pieces of a message are kept until the others come."""
        return self._assembler.amid

    # --- end

    def finish(self) -> None:
        """End it when all that was sent has been written."""
        self._finishing = True
        if not self._queue:
            self.close()

    def close(self) -> None:
        """End it when what the transport has been given is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self, error: Exception | None = None) -> None:
        """End it now."""
        if not self.closed.done():
            self.closed.set_result(None)
            self._peer.lost(error)
        if self._transport is not None:
            self._transport.abort()

    @property
    def end(self) -> object:
        """The socket of this end."""
        return None if self._transport is None else self._transport.get_extra_info("socket")
