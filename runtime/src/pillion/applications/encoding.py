"""Compressing what handlers answer. Each item of a stream is flushed, so that it arrives when it was given."""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from pillion.transport.http.content_coding import CODINGS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["Compressing"]

_LEVEL: Final = 1
_OF_THE_BYTES: Final = (b"accept-ranges", b"content-length")
"""Headers that say something of the bytes as they were."""


class Compressing:
    """An ASGI ``send`` in front of another.

    Args:
        send: the other.
        coding: one that :func:`~pillion.transport.http.compression.wanted_coding` gives.
        least: bytes of a whole answer from which it is worth it; streams are compressed whatever their size.
    """

    __slots__ = ("_coding", "_head", "_least", "_send", "_stream")

    def __init__(self, send: Send, coding: bytes, least: int) -> None:
        self._send = send
        self._coding = coding
        self._least = least
        self._head: Message | None = None
        self._stream: Any = None

    async def __call__(self, message: Message) -> None:
        """Send a message; the head waits for the first piece of the body, which says what is worth it."""
        if message["type"] == "http.response.start":
            self._head = message
            return
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        head, self._head = self._head, None
        if head is not None:
            if (more or len(body) >= self._least) and _may_be(head):
                self._stream = zlib.compressobj(_LEVEL, wbits=CODINGS[self._coding])
                if not more:
                    body, self._stream = self._stream.compress(body) + self._stream.flush(), None
                await self._send({**head, "headers": self._encoded(head["headers"], None if more else len(body))})
            else:
                await self._send(head)
        if self._stream is not None:
            body = self._stream.compress(body) + self._stream.flush(zlib.Z_SYNC_FLUSH if more else zlib.Z_FINISH)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def _encoded(self, headers: list[tuple[bytes, bytes]], length: int | None) -> list[tuple[bytes, bytes]]:
        kept = [_weakened(header) for header in headers if header[0].lower() not in _OF_THE_BYTES]
        kept += [(b"content-encoding", self._coding), (b"vary", b"accept-encoding")]
        return kept if length is None else [*kept, (b"content-length", b"%d" % length)]


def _may_be(head: Message) -> bool:
    """Whether an answer may be compressed at all."""
    headers = [(name.lower(), value) for name, value in head["headers"]]
    names = {name for name, _ in headers}
    # A range is of the bytes as they are (RFC 9110, section 15.3.7): compressed, it would not fit the others.
    if head["status"] == HTTPStatus.PARTIAL_CONTENT or b"content-range" in names or b"content-encoding" in names:
        return False
    return not any(name == b"cache-control" and b"no-transform" in value.lower() for name, value in headers)


def _weakened(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A tag that says that bytes are the same is weak of bytes that are others (RFC 9110, section 8.8.3)."""
    name, value = header
    return (name, b"W/" + value) if name.lower() == b"etag" and not value.startswith(b"W/") else header
