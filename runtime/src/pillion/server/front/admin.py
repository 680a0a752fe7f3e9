"""The admin port in front of several workers: the same answers, of all of them.

A few lines over asyncio's streams rather than the data ports' engine, because the supervisor should import nothing that
it can do without. It reads a head, which is all that GET has, answers, and closes.
"""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

__all__ = ["AdminPort", "Asked", "asked"]

_HEAD_BYTES: Final = 32 * 1024
_HEAD_SECONDS: Final = 10.0
_MOST_CONNECTIONS: Final = 128

Asked = tuple[str, str, bytes, str]
"""Method, path, query and the header Accept."""


def asked(head: bytes) -> Asked | None:
    """What the head of a request asks for; None where it is none of HTTP/1 (RFC 9112, section 3)."""
    line, _, rest = head.partition(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
        return None
    path, _, query = parts[1].partition(b"?")
    accept = ""
    for field in rest.split(b"\r\n"):
        name, _, value = field.partition(b":")
        if name.strip().lower() == b"accept":
            accept = value.strip().decode("latin-1")
    return parts[0].decode("latin-1"), path.decode("latin-1"), query, accept


class AdminPort:
    """One listening port.

    Args:
        answer: gives status, media type and body.
    """

    def __init__(self, answer: Callable[[Asked], Awaitable[tuple[int, str, bytes]]]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._open = 0

    async def open(self, listening: socket.socket) -> None:
        """Answer on ``listening``."""
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=_HEAD_BYTES)

    def close(self) -> None:
        """Accept no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MOST_CONNECTIONS:
                async with asyncio.timeout(_HEAD_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._answered(head))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answered(self, head: bytes) -> bytes:
        question = asked(head)
        if question is None:
            status, media_type, body = 400, "text/plain; charset=utf-8", b"not a request of HTTP/1\n"
        else:
            status, media_type, body = await self._answer(question)
        lines = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"content-type: {media_type}",
            f"content-length: {len(body)}",
            "cache-control: no-store",
            "connection: close",
            "\r\n",
        )
        return "\r\n".join(lines).encode("latin-1") + (b"" if question is not None and question[0] == "HEAD" else body)
