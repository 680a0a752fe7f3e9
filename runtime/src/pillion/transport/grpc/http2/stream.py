"""One stream of a connection: a call's life, and its answer within the windows of the client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc

from pillion.errors import PillionError
from pillion.transport.body_budget import SMALL
from pillion.transport.grpc.errors import GRPC_STATUS, retry_metadata
from pillion.transport.grpc.http2.hpack import literal
from pillion.transport.grpc.http2.inbox import Inbox
from pillion.transport.grpc.http2.messages import PREFIX, MessageFault
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

    from pillion.transport.grpc.http2.open_streams import OpenStreams
    from pillion.transport.grpc.http2.request import Request

__all__ = ["Stream"]

_BEGIN: Final = b"\x88" + literal(b"content-type", b"application/grpc")
"""The head of an answer: ``:status 200`` from the static table."""
_OK: Final = literal(b"grpc-status", b"0")
_TRAILERS: Final = END_HEADERS | END_STREAM


class Stream:
    """See the module.

    Args:
        streams: of the connection.
        number: its identifier.
        request: the call's head.
    """

    __slots__ = (
        "_begun",
        "_deadline",
        "_out",
        "_streams",
        "_task",
        "_timer",
        "answered",
        "closed",
        "handler",
        "inbox",
        "number",
        "request",
        "stalled_since",
        "window",
    )

    def __init__(self, streams: OpenStreams, number: int, request: Request) -> None:
        self._streams = streams
        self._out = streams.out
        self.number = number
        self.request = request
        self.inbox = Inbox(streams, number, request.encoding)
        self.window = streams.out.stream_window
        """Bytes that the client takes now; below 0 after it has made its windows smaller."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._begun = False
        self.handler: grpc.RpcMethodHandler[Any, Any] | None = None
        """Of a call that takes one message, until it begins."""
        self.answered = False
        """Whether the status has been sent."""
        self.closed = False
        """Whether nothing is sent or taken any more."""
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

        self._task = self._streams.loop.create_task(call)
        self._task.add_done_callback(done)

    def limit_time(self, seconds: float) -> None:
        """End the call after so many seconds."""
        loop = self._streams.loop
        self._deadline = loop.time() + seconds
        self._timer = loop.call_at(self._deadline, self._expire)

    def time_remaining(self) -> float | None:
        """Seconds to the deadline, at least 0."""
        return None if self._deadline is None else max(0.0, self._deadline - self._streams.loop.time())

    def peer(self) -> str:
        """The client's address as gRPC writes it."""
        return self._streams.peer

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
        if self.inbox.reserved:
            self.inbox.let_go()
        self._streams.forget(self)

    def put_off(self, handler: grpc.RpcMethodHandler[Any, Any]) -> bool:
        """Whether the call has to wait until the client takes answers."""
        return self._streams.put_off(self, handler)

    def abandon(self) -> None:
        """The call was cancelled: where nobody has been told yet, tell the client."""
        if not self.closed:
            self.fail(ErrorCode.CANCEL)

    def fail(self, code: int) -> None:
        """End the stream by RST_STREAM, and the call with it."""
        if not self.closed:
            self._out.write(reset(self.number, code))
            self.cancel()

    def hurry(self, now: float) -> None:
        """End a call whose client takes too long to send a message, or to take one."""
        if self.stalled_since is not None and now - self.stalled_since > self._streams.limits.body_timeout:
            self.fail(ErrorCode.CANCEL)
        elif self.inbox.overdue(now, many=self.handler is None):
            self.end(grpc.StatusCode.DEADLINE_EXCEEDED, "The message did not arrive in time")
            self.cancel()

    # --- receiving

    def data(self, payload: bytes, size: int) -> None:
        """Take the payload of a DATA frame that has ``size`` bytes with its padding.

        Raises:
            StreamFault: the client broke the protocol.
        """
        try:
            self.inbox.data(payload, size, many=self.handler is None)
        except MessageFault as fault:
            self._refuse_message(fault)
        except PillionError as refusal:
            self.end(GRPC_STATUS[refusal.code], str(refusal), metadata_fields(retry_metadata(refusal)))
            self.cancel()

    def half_close(self) -> None:
        """The client has sent all.

        Raises:
            StreamFault: less or more than it announced.
        """
        try:
            self.inbox.end(self.request.content_length)
        except MessageFault as fault:
            self._refuse_message(fault)

    def _refuse_message(self, fault: MessageFault) -> None:
        self.end(fault.status, str(fault))
        self.cancel()

    # --- answering

    def widen(self, increment: int) -> None:
        """The client takes so many bytes more.

        Raises:
            StreamFault: more than there can be.
        """
        self.window += increment
        if self.window > LARGEST_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "a window larger than 2^31-1")
        # That is no reason to wait anew: only bytes that it takes are (see _send).

    def answer_whole(self, message: bytes, trailers: bytes) -> bool:
        """Send the one answer of a call with all that belongs to it, if the client has room for it now."""
        out, number = self._out, self.number
        size = PREFIX + len(message)
        if self._begun or size > self.window or not out.has_room(size):
            return False
        if self.closed:
            return True
        self.window -= size
        out.window -= size
        out.sent = True
        end = _OK + trailers
        out.write(
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
            self._out.write_fields(self.number, _BEGIN + metadata, 0)

    async def send(self, message: bytes) -> None:
        """Send a message as the client has room for it. One that the server has no room to keep until then ends the
        stream.
        """
        self.begin_answer()
        out = self._out
        whole = PREFIX + len(message)
        # Long ones may have to wait in the middle, whatever room there is now.
        waits = whole > SMALL or whole > out.room() or whole > self.window
        if waits and not self._streams.wait_untaken(whole):
            self.fail(ErrorCode.ENHANCE_YOUR_CALM)
            waits = False
        try:
            await self._send_message(message)
        finally:
            if waits:
                self._streams.taken(whole)

    async def _send_message(self, message: bytes) -> None:
        out = self._out
        content = b"\0" + len(message).to_bytes(4)
        if len(message) <= out.max_frame - PREFIX:
            content += message
            rest = memoryview(b"")
        else:
            # Long ones are not copied to put five bytes before them.
            first = out.max_frame - PREFIX
            content += message[:first]
            rest = memoryview(message)[first:]
        await self._send(memoryview(content))
        if rest:
            await self._send(rest)

    async def _send(self, content: memoryview) -> None:
        out, at = self._out, 0
        while at < len(content):
            if self.closed:
                # Whoever closed it has cancelled the call, which ends where it waits next.
                await asyncio.sleep(0)
                raise asyncio.CancelledError
            room = min(self.window, out.room(), out.max_frame, len(content) - at)
            if room <= 0:
                if self.stalled_since is None:
                    self.stalled_since = self._streams.loop.time()
                await out.changed()
                continue
            self.stalled_since = None
            self.window -= room
            out.window -= room
            out.sent = True
            out.write(head(room, DATA, 0, self.number))
            out.write(content[at : at + room])
            at += room

    def end(self, code: grpc.StatusCode, details: str, trailers: bytes = b"") -> None:
        """Send the status, and with it the end."""
        if self.closed or self.answered:
            return
        number: int = code.value[0]
        fields = literal(b"grpc-status", str(number).encode())
        if details:
            fields += literal(b"grpc-message", percent_encoded(details))
        self._out.write_fields(self.number, (b"" if self._begun else _BEGIN) + fields + trailers, END_STREAM)
        self._answered()

    def refuse(self, fields: bytes) -> None:
        """Answer in HTTP what is no gRPC."""
        self._out.write_fields(self.number, fields, END_STREAM)
        self._answered()

    def _answered(self) -> None:
        self.answered = self.closed = True
        if not self.inbox.complete:
            # The answer is complete, so the client need not send the rest (RFC 9113, section 8.1).
            self._out.write(reset(self.number, ErrorCode.NO_ERROR))
