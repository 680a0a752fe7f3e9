"""Sending answers over ASGI: one place that knows headers, Connection: close while draining, and HEAD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from pillion.transport.http.errors import (
    HTTP_STATUS,
    error_body,
    openai_error_body,
    retry_after,
    task_error_body,
    task_status,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from pillion.errors import PillionError
    from pillion.transport.http.events import Events

    Scope = MutableMapping[str, Any]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

__all__ = [
    "Answer",
    "error_answer",
    "head_lines",
    "json_answer",
    "openai_error_answer",
    "refuse_connection",
    "send_answer",
    "task_error_answer",
]

Header = tuple[bytes, bytes]


class Answer:
    """What a handler gives back. ``parts`` follow ``body`` on the wire without being joined to it; ``events`` take the
    place of both.
    """

    __slots__ = ("body", "code", "content_type", "events", "headers", "parts", "status")

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: bytes = b"application/json",
        headers: Sequence[Header] = (),
        parts: Sequence[memoryview] = (),
        code: str = "",
        events: Events | None = None,
    ) -> None:
        self.body = body
        self.events = events
        self.status = status
        self.content_type = content_type
        self.headers = headers
        self.parts = parts
        self.code = code

    @property
    def size(self) -> int:
        """Bytes on the wire, headers aside."""
        return len(self.body) + sum(map(len, self.parts)) if self.parts else len(self.body)


def json_answer(document: object, *, status: int = 200, headers: Sequence[Header] = (), code: str = "") -> Answer:
    """A JSON document."""
    return Answer(orjson.dumps(document), status=status, headers=headers, code=code)


def error_answer(error: PillionError, request_id: str, *, headers: Sequence[Header] = ()) -> Answer:
    """The protocol's error, with the status of :data:`HTTP_STATUS` and ``Retry-After`` where it makes sense."""
    after = retry_after(error)
    if after is not None:
        headers = (*headers, (b"retry-after", after))
    return Answer(error_body(error, request_id), status=HTTP_STATUS[error.code], headers=headers, code=error.code.value)


def task_error_answer(error: PillionError, request_id: str, *, headers: Sequence[Header] = ()) -> Answer:
    """The same in the shape of the task routes."""
    after = retry_after(error)
    if after is not None:
        headers = (*headers, (b"retry-after", after))
    body = task_error_body(error, request_id)
    return Answer(body, status=task_status(error), headers=headers, code=error.code.value)


def openai_error_answer(error: PillionError, request_id: str, *, headers: Sequence[Header] = ()) -> Answer:
    """The same in the shape that OpenAI's clients read."""
    after = retry_after(error)
    if after is not None:
        headers = (*headers, (b"retry-after", after))
    body = openai_error_body(error, request_id)
    return Answer(body, status=HTTP_STATUS[error.code], headers=headers, code=error.code.value)


def head_lines(answer: Answer, length: int, request_id: str) -> bytes:
    """The headers of an answer of ``length`` bytes, as they stand on the wire."""
    lines = b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n" % (
        answer.content_type,
        length,
        request_id.encode(),
    )
    if answer.headers:
        lines += b"".join(b"%b: %b\r\n" % header for header in answer.headers)
    return lines


async def send_answer(send: Send, answer: Answer, request_id: str, *, head: bool, close: bool) -> None:
    """Send the whole answer.

    Args:
        send: the ASGI channel.
        answer: what to say.
        request_id: echoed as ``X-Request-ID``.
        head: the request was HEAD: headers only.
        close: the connection ends with this answer.
    """
    body, parts = answer.body, answer.parts
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % answer.size),
        (b"x-request-id", request_id.encode()),
        *answer.headers,
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if head:
        body, parts = b"", ()
    if not parts:
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.body", "body": body, "more_body": True})
    last = len(parts) - 1
    for index, part in enumerate(parts):
        await send({"type": "http.response.body", "body": part, "more_body": index != last})


async def refuse_connection(scope: Scope, send: Send, error: PillionError, answer: Answer, request_id: str) -> None:
    """Answer a WebSocket's request as any other is, with its status, where the server can; else it is 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.message})
        return
    headers = [(b"content-type", answer.content_type), (b"x-request-id", request_id.encode()), *answer.headers]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})
