"""One stream of a connection: messages in, messages out, within the windows of both sides."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import grpc

from pillion.errors import PillionError
from pillion.transport.body_budget import SMALL
from pillion.transport.grpc.errors import GRPC_STATUS, retry_metadata
from pillion.transport.grpc.http2.hpack import literal
from pillion.transport.grpc.http2.messages import PREFIX, Coded, MessageFault, Messages
from pillion.transport.grpc.http2.request import metadata_fields, percent_encoded
from pillion.transport.grpc.http2.wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST_WINDOW,
    ErrorCode,
    StreamFault,
    head,
    reset,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pillion.transport.grpc.http2.connection import Connection
    from pillion.transport.grpc.http2.request import Request

__all__ = ["Stream"]

_BEGIN: Final = b"\x88" + literal(b"content-type", b"application/grpc")
"""The head of an answer: ``:status 200`` from the static table."""
_OK: Final = literal(b"grpc-status", b"0")
_TRAILERS: Final = END_HEADERS | END_STREAM


class Stream:
    """See the module.

    Args:
        connection: that it belongs to.
        number: its identifier.
        request: the call's head.
        window: bytes that the client takes now.
    """

    __slots__ = (
        "_begun",
        "_connection",
        "_credit",
        "_deadline",
        "_half_closed",
        "_held",
        "_in_hand",
        "_kept",
        "_messages",
        "_queue",
        "_reader",
        "_received",
        "_reserved",
        "_task",
        "_timer",
        "answered",
        "closed",
        "handler",
        "number",
        "receive_window",
        "request",
        "stalled_since",
        "waits_since",
        "window",
    )

    def __init__(self, connection: Connection, number: int, request: Request, window: int) -> None:
        limits = connection.limits
        self._connection = connection
        self.number = number
        self.request = request
        self.window = window
        """Bytes that the client takes now; below 0 after it has made its windows smaller."""
        self.receive_window = limits.stream_window
        self._messages = Messages(limits.max_message_bytes, request.encoding)
        self._queue: deque[bytes] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._half_closed = False
        self._begun = False
        self._received = 0
        self._held = 0
        self._kept = 0
        """Bytes of messages in memory: one that comes in, those that wait, and the one that is worked on."""
        self._in_hand = 0
        """Those of the last."""
        self._reserved = 0
        """Those that the server's budget knows of."""
        self._credit = 0
        self.handler: grpc.RpcMethodHandler[Any, Any] | None = None
        """Of a call that takes one message, until it begins."""
        self.answered = False
        """Whether the status has been sent."""
        self.closed = False
        """Whether nothing is sent or taken any more."""
        self.waits_since: float | None = connection.now
        """Since when the client owes the rest of a message."""
        self.stalled_since: float | None = None
        """Since when an answer waits for the client to make room."""

    # --- the call's life

    def start(self, call: Coroutine[object, object, None], ended: Callable[[], None]) -> None:
        """Run the call in a task of its own, and say when that has ended."""

        def done(_: asyncio.Task[None]) -> None:
            # Not the coroutine's own `finally`: one that is cancelled before its first step runs none of its code.
            self._task = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            ended()
            self._let_go()

        self._task = self._connection.loop.create_task(call)
        self._task.add_done_callback(done)

    def limit_time(self, seconds: float) -> None:
        """End the call after so many seconds."""
        loop = self._connection.loop
        self._deadline = loop.time() + seconds
        self._timer = loop.call_at(self._deadline, self._expire)

    def time_remaining(self) -> float | None:
        """Seconds to the deadline, at least 0."""
        return None if self._deadline is None else max(0.0, self._deadline - self._connection.loop.time())

    def peer(self) -> str:
        """The client's address as gRPC writes it."""
        return self._connection.peer

    def _expire(self) -> None:
        self._timer = None
        self.end(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self.cancel()

    def cancel(self) -> None:
        """The client has left, or is to be left: end the call."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            self._let_go()
        else:
            self._task.cancel()

    def _let_go(self) -> None:
        """The call has ended, or will never begin."""
        if self._reserved:
            self._connection.bodies.free(self._reserved)
            self._reserved = 0
        self._connection.forget(self)

    def put_off(self, handler: grpc.RpcMethodHandler[Any, Any]) -> bool:
        """Whether the call has to wait until the client takes answers."""
        return self._connection.put_off(self, handler)

    def abandon(self) -> None:
        """The call was cancelled: where nobody has been told yet, tell the client."""
        if not self.closed:
            self.fail(ErrorCode.CANCEL)

    def fail(self, code: int) -> None:
        """End the stream by RST_STREAM, and the call with it."""
        if not self.closed:
            self._connection.write(reset(self.number, code))
            self.cancel()

    # --- receiving

    def data(self, payload: bytes, size: int) -> None:
        """Take the payload of a DATA frame that has ``size`` bytes with its padding.

        Raises:
            StreamFault: the client broke the protocol.
        """
        if self._half_closed:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "data behind the end")
        self.receive_window -= size
        if self.receive_window < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window allows")
        self._received += len(payload)
        self._kept += len(payload)
        try:
            whole = self._messages.feed(payload)
            if self._kept > SMALL:
                self._reserve()
        except MessageFault as fault:
            self.end(fault.status, str(fault))
            self.cancel()
            return
        except PillionError as refusal:
            self.end(GRPC_STATUS[refusal.code], str(refusal), metadata_fields(retry_metadata(refusal)))
            self.cancel()
            return
        if self._queue is None:
            self._queue = deque(whole)
        else:
            self._queue += whole
        if self.handler is None:
            # Between the messages of a stream there may be any time.
            if not self._messages.received:
                self.waits_since = None
            elif whole or self.waits_since is None:
                self.waits_since = self._connection.now
        if self._queue:
            self._held += size
            self._wake()
        else:
            self._give(size)

    def half_close(self) -> None:
        """The client has sent all.

        Raises:
            StreamFault: less or more than it announced.
        """
        length = self.request.content_length
        if self._half_closed:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "a second end")
        if length is not None and length != self._received:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "content-length is not the length of the content")
        self._half_closed = True
        self.waits_since = None
        if self._messages.received:
            self.end(grpc.StatusCode.INTERNAL, "The request ended in the middle of a message")
            self.cancel()
            return
        self._wake()

    def only_message(self) -> bytes | None:
        """The request of a call that takes one, once it is complete; None before that, for any other number, and where
        it has to be expanded.
        """
        queue = self._queue
        if not self._half_closed or queue is None or len(queue) != 1 or type(queue[0]) is Coded:
            return None
        return queue.popleft()

    @property
    def drained(self) -> bool:
        """Whether no further message is or will be there. Unlike asking for it, that keeps what is in hand counted."""
        return self._half_closed and not self._queue

    async def receive(self) -> bytes | None:
        """The next message; None when the client has sent all.

        Raises:
            MessageFault: it cannot be expanded.
        """
        if self._in_hand:
            # Who asks for the next has done with the one before.
            self._kept -= self._in_hand
            self._in_hand = 0
            if self._reserved:
                self._reserve()
        while not self._queue:
            if self._half_closed:
                return None
            self._reader = self._connection.loop.create_future()
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
        if kept > self._reserved:
            self._connection.bodies.take(kept - self._reserved)
        else:
            self._connection.bodies.free(self._reserved - kept)
        self._reserved = kept

    def hurry(self, now: float) -> None:
        """End a call whose client takes too long to send a message, or to take one."""
        limits = self._connection.limits
        if self.stalled_since is not None and now - self.stalled_since > limits.body_timeout:
            self.fail(ErrorCode.CANCEL)
        elif self.waits_since is not None and (self.handler is not None or not self._queue):
            due = self.waits_since + limits.body_timeout + self._messages.received / limits.min_body_rate
            if now > due:
                self.end(grpc.StatusCode.DEADLINE_EXCEEDED, "The message did not arrive in time")
                self.cancel()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _give(self, size: int) -> None:
        """Allow the client so many bytes more; said in halves of a window."""
        self._credit += size
        if self._credit * 2 >= self._connection.limits.stream_window and not self._half_closed:
            self.receive_window += self._credit
            self._connection.give(self.number, self._credit)
            self._credit = 0

    # --- answering

    def widen(self, increment: int) -> None:
        """The client takes so many bytes more.

        Raises:
            StreamFault: more than there can be.
        """
        self.window += increment
        if self.window > LARGEST_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "a window larger than 2^31-1")
        self.stalled_since = None

    def answer_whole(self, message: bytes, trailers: bytes) -> bool:
        """Send the one answer of a call with all that belongs to it, if the client has room for it now."""
        connection, number = self._connection, self.number
        size = PREFIX + len(message)
        if self._begun or size > self.window or not connection.has_room(size):
            return False
        if self.closed:
            return True
        self.window -= size
        connection.window -= size
        connection.sent = True
        end = _OK + trailers
        connection.write(
            b"".join(
                (
                    head(len(_BEGIN), HEADERS, END_HEADERS, number),
                    _BEGIN,
                    head(size, DATA, 0, number),
                    b"\0",
                    len(message).to_bytes(4),
                    message,
                    head(len(end), HEADERS, _TRAILERS, number),
                    end,
                )
            )
        )
        self._answered()
        return True

    def begin_answer(self, metadata: bytes = b"") -> None:
        """Send the head of the answer."""
        if not self._begun and not self.closed:
            self._begun = True
            self._connection.write_fields(self.number, _BEGIN + metadata, 0)

    async def send(self, message: bytes) -> None:
        """Send a message as the client has room for it. One that the server has no room to keep until then ends the
        stream.
        """
        self.begin_answer()
        connection = self._connection
        whole = PREFIX + len(message)
        # Long ones may have to wait in the middle, whatever room there is now.
        waits = whole > SMALL or whole > connection.room() or whole > self.window
        if waits and not connection.wait_untaken(whole):
            self.fail(ErrorCode.ENHANCE_YOUR_CALM)
            waits = False
        try:
            await self._send_message(message)
        finally:
            if waits:
                connection.taken(whole)

    async def _send_message(self, message: bytes) -> None:
        connection = self._connection
        content = b"\0" + len(message).to_bytes(4)
        if len(message) <= connection.max_frame - PREFIX:
            content += message
            rest = memoryview(b"")
        else:
            # Long ones are not copied to put five bytes before them.
            first = connection.max_frame - PREFIX
            content += message[:first]
            rest = memoryview(message)[first:]
        await self._send(memoryview(content))
        if rest:
            await self._send(rest)

    async def _send(self, content: memoryview) -> None:
        connection, at = self._connection, 0
        while at < len(content):
            if self.closed:
                # Whoever closed it has cancelled the call, which ends where it waits next.
                await asyncio.sleep(0)
                raise asyncio.CancelledError
            room = min(self.window, connection.room(), connection.max_frame, len(content) - at)
            if room <= 0:
                if self.stalled_since is None:
                    self.stalled_since = connection.loop.time()
                await connection.changed()
                continue
            self.stalled_since = None
            self.window -= room
            connection.window -= room
            connection.sent = True
            connection.write(head(room, DATA, 0, self.number))
            connection.write(content[at : at + room])
            at += room

    def end(self, code: grpc.StatusCode, details: str, trailers: bytes = b"") -> None:
        """Send the status, and with it the end."""
        if self.closed or self.answered:
            return
        number: int = code.value[0]
        fields = literal(b"grpc-status", str(number).encode())
        if details:
            fields += literal(b"grpc-message", percent_encoded(details))
        self._connection.write_fields(self.number, (b"" if self._begun else _BEGIN) + fields + trailers, END_STREAM)
        self._answered()

    def refuse(self, fields: bytes) -> None:
        """Answer in HTTP what is no gRPC."""
        self._connection.write_fields(self.number, fields, END_STREAM)
        self._answered()

    def _answered(self) -> None:
        self.answered = self.closed = True
        if not self._half_closed:
            # The answer is complete, so the client need not send the rest (RFC 9113, section 8.1).
            self._connection.write(reset(self.number, ErrorCode.NO_ERROR))
