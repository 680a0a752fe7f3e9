"""Server-sent events (WHATWG HTML, section 9.2): answers that go out piece by piece, and end when their reader leaves.

A stream never just stops: its last event is the protocol's end, or an error that says why. Writing waits while the
client's connection is full, which slows the model's code (see :mod:`pillion.execution.stream`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from pillion.errors import ErrorCode, PillionError
from pillion.transport.http.body import ClientDisconnected
from pillion.transport.http.disconnect import DisconnectWatch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, MutableMapping

    from pillion.dataplane.streams import ItemStream
    from pillion.transport.http.answer import Answer

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["EVENT_STREAM", "Events", "begun", "event", "send_events"]

EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"
_log: Final = logging.getLogger("pillion.http")
_INTERNAL: Final = "Internal error; the server's log has it under this id"
_STALLED: Final = 30.0
"""Seconds that a client may leave its connection full before it counts as gone."""


class Events(Protocol):
    """The rest of an answer whose beginning is known."""

    def chunks(self) -> AsyncGenerator[bytes]:
        """The bytes of the body, as they come.

        Raises:
            PillionError: after some of them; :meth:`failed` tells the client.
        """
        ...

    def failed(self, error: PillionError) -> bytes:
        """The bytes that end a body which cannot be completed."""
        ...

    def close(self) -> None:
        """Nobody reads on. Idempotent."""
        ...


def event(data: bytes, name: str | None = None) -> bytes:
    """One event; ``data`` is one line."""
    return b"data: %b\n\n" % data if name is None else b"event: %b\ndata: %b\n\n" % (name.encode(), data)


async def begun(beginning: Coroutine[Any, Any, ItemStream], receive: Receive, grace: float) -> ItemStream:
    """The stream, once its first item is there.

    Args:
        beginning: :meth:`~pillion.dataplane.streams.StreamPlane.stream` of the data plane.
        receive: the ASGI channel; the request's body has been read.
        grace: seconds before the connection is watched.

    Raises:
        PillionError: there is no first item.
        ClientDisconnected: the client left; nothing runs any more.
    """
    stream: ItemStream | None = None
    try:
        with DisconnectWatch(receive, grace):
            stream = await beginning
    except BaseException:
        if stream is not None:  # the client left in the very moment
            stream.close()
        raise
    return stream


async def send_events(
    send: Send, receive: Receive, events: Events, answer: Answer, request_id: str, *, close: bool
) -> str:
    """Send the answer's head and its events; gives the code of the outcome, empty for success.

    Args:
        send: the ASGI channel.
        receive: the other; the request's body has been read.
        events: the body.
        answer: status and headers.
        request_id: echoed as ``X-Request-ID``.
        close: the connection ends with this answer.
    """
    headers = [
        (b"content-type", answer.content_type),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # nginx would keep the events together
        (b"x-request-id", request_id.encode()),
        *answer.headers,
    ]
    if close:
        headers.append((b"connection", b"close"))
    code = ""
    try:
        with DisconnectWatch(receive, 0.0):
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            try:
                async with contextlib.aclosing(events.chunks()) as chunks:
                    async for chunk in chunks:
                        await _write(send, chunk)
            except Exception as error:
                if isinstance(error, ClientDisconnected):
                    raise
                failure = _failure(error, request_id)
                code = failure.code.value
                await _write(send, events.failed(failure))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except ClientDisconnected:
        code = ErrorCode.CANCELLED.value
    finally:
        events.close()
    return code


async def _write(send: Send, chunk: bytes) -> None:
    try:
        async with asyncio.timeout(_STALLED):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except TimeoutError:
        raise ClientDisconnected from None


def _failure(error: Exception, request_id: str) -> PillionError:
    if isinstance(error, PillionError):
        return error
    _log.error("unexpected failure", exc_info=error, extra={"request_id": request_id})
    return PillionError(ErrorCode.INTERNAL, _INTERNAL)
