"""The messages of a call that have come in and are not read: kept within the windows and the server's memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import grpc

from pillion.errors import PillionError
from pillion.transport.body_budget import SMALL
from pillion.transport.grpc.errors import GRPC_STATUS
from pillion.transport.grpc.http2.messages import PREFIX, Coded, MessageFault, Messages
from pillion.transport.grpc.http2.wire import ErrorCode, StreamFault

if TYPE_CHECKING:
    import asyncio

    from pillion.transport.grpc.http2.open_streams import OpenStreams

__all__ = ["Inbox"]


class Inbox:
    """See the module.

    Args:
        streams: of the connection.
        number: the stream's.
        encoding: of compressed messages.
    """

    __slots__ = (
        "_credit",
        "_held",
        "_in_hand",
        "_kept",
        "_messages",
        "_number",
        "_queue",
        "_reader",
        "_received",
        "_streams",
        "_window",
        "complete",
        "reserved",
        "waits_since",
    )

    def __init__(self, streams: OpenStreams, number: int, encoding: bytes) -> None:
        limits = streams.limits
        self._streams = streams
        self._number = number
        self._messages = Messages(limits.max_message_bytes, encoding)
        self._window = limits.stream_window
        self._credit = 0
        self._queue: deque[bytes] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._received = 0
        self._held = 0
        self._kept = 0
        """Bytes of messages in memory: one that comes in, those that wait, and the one that is worked on."""
        self._in_hand = 0
        """Those of the last."""
        self.reserved = 0
        """Those that the server's budget knows of."""
        self.complete = False
        """Whether the client has sent all."""
        self.waits_since: float | None = streams.now
        """Since when the client owes the rest of a message."""

    # --- filling

    def data(self, payload: bytes, size: int, *, many: bool) -> None:
        """Take the payload of a DATA frame that has ``size`` bytes with its padding. ``many`` says that the call has
        begun, and reads its messages one by one.

        Raises:
            StreamFault: the client broke the protocol.
            MessageFault: a message is too large.
            PillionError: the server has no room for it.
        """
        if self.complete:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "data behind the end")
        self._window -= size
        if self._window < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window allows")
        self._received += len(payload)
        self._kept += len(payload)
        whole = self._messages.feed(payload)
        if self._kept > SMALL:
            self._reserve()
        if self._queue is None:
            self._queue = deque(whole)
        else:
            self._queue += whole
        if many:
            # Between the messages of a stream there may be any time.
            if not self._messages.received:
                self.waits_since = None
            elif whole or self.waits_since is None:
                self.waits_since = self._streams.now
        if self._queue:
            self._held += size
            self._wake()
        else:
            self._give(size)

    def end(self, content_length: int | None) -> None:
        """The client has sent all.

        Raises:
            StreamFault: less or more than it announced.
            MessageFault: a message is cut.
        """
        if self.complete:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "a second end")
        if content_length is not None and content_length != self._received:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "content-length is not the length of the content")
        self.complete = True
        self.waits_since = None
        if self._messages.received:
            raise MessageFault(grpc.StatusCode.INTERNAL, "The request ended in the middle of a message")
        self._wake()

    def overdue(self, now: float, *, many: bool) -> bool:
        """Whether the client takes too long to send a message. ``many`` as for :meth:`data`."""
        if self.waits_since is None or (many and self._queue):
            return False
        limits = self._streams.limits
        return now > self.waits_since + limits.body_timeout + self._messages.received / limits.min_body_rate

    # --- reading

    @property
    def drained(self) -> bool:
        """Whether no further message is or will be there. Unlike asking for it, that keeps what is in hand counted."""
        return self.complete and not self._queue

    def only_message(self) -> bytes | None:
        """The request of a call that takes one, once it is complete; None before that, for any other number, and where
        it has to be expanded.
        """
        queue = self._queue
        if not self.complete or queue is None or len(queue) != 1 or type(queue[0]) is Coded:
            return None
        return queue.popleft()

    async def receive(self) -> bytes | None:
        """The next message; None when the client has sent all.

        Raises:
            MessageFault: it cannot be expanded.
        """
        if self._in_hand:
            # Who asks for the next has done with the one before.
            self._kept -= self._in_hand
            self._in_hand = 0
            if self.reserved:
                self._reserve()
        while not self._queue:
            if self.complete:
                return None
            self._reader = self._streams.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        message = self._queue.popleft()
        if not self._queue and self._held:
            held, self._held = self._held, 0
            self._give(held)
        self._in_hand = PREFIX + len(message)
        return self._expanded(message) if type(message) is Coded else message

    def release(self) -> None:
        """The method has done with its only request, whose bytes the answer may have room in."""
        if self.complete and not self._queue:
            self._kept = self._in_hand = 0
            if self.reserved:
                self._reserve()

    def let_go(self) -> None:
        """The call has ended: nothing is kept for it."""
        self._streams.bodies.free(self.reserved)
        self.reserved = 0

    def _expanded(self, message: Coded) -> bytes:
        expanded = self._messages.expanded(message)
        self._in_hand += len(expanded)
        self._kept += len(expanded)
        if self._kept > SMALL:
            try:
                self._reserve()
            except PillionError as refusal:
                raise MessageFault(GRPC_STATUS[refusal.code], str(refusal)) from None
        return expanded

    def _reserve(self) -> None:
        """Have the server's budget know of the bytes that are kept.

        Raises:
            PillionError: there is no room for them.
        """
        kept = self._kept if self._kept > SMALL else 0
        if kept > self.reserved:
            self._streams.bodies.take(kept - self.reserved)
        else:
            self._streams.bodies.free(self.reserved - kept)
        self.reserved = kept

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _give(self, size: int) -> None:
        """Allow the client so many bytes more; said in halves of a window."""
        self._credit += size
        if self._credit * 2 >= self._streams.limits.stream_window and not self.complete:
            self._window += self._credit
            self._streams.out.give(self._number, self._credit)
            self._credit = 0
