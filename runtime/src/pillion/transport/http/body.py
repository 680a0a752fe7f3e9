"""Reading a request body into one piece of memory, under a limit, placed so that numpy can use raw tensors in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]

__all__ = ["ClientDisconnected", "read_body", "stated_length", "too_large"]

_ALIGNMENT: Final = 64
_FIRST_GUESS: Final = 256 * 1024


class ClientDisconnected(Exception):  # noqa: N818  # an event, named as in every ASGI library
    """The client left before its request was complete: there is nobody to answer."""


def stated_length(value: bytes | None, limit: int) -> int | None:
    """The ``Content-Length``, or None for a chunked body.

    Raises:
        PillionError: ``PAYLOAD_TOO_LARGE``.
    """
    if value is None or not value.isdigit():
        return None
    if len(value) > 18 or int(value) > limit:
        raise too_large(limit)
    return int(value)


async def read_body(
    receive: Receive, message: Message, headers: Mapping[bytes, bytes], limit: int, json_bytes: int = 0
) -> bytes | memoryview:
    """The whole body: the transport's own bytes where it came in one piece, else one buffer filled piece by piece.

    Args:
        receive: the ASGI channel.
        message: the first message received from it.
        headers: for the stated length.
        limit: bytes allowed.
        json_bytes: bytes of JSON in front of raw tensors; the buffer is placed so that what follows is aligned for
            every datatype and can be used without another copy.

    Raises:
        PillionError: ``PAYLOAD_TOO_LARGE``, by the stated length or as soon as the limit is passed.
        ClientDisconnected: the connection ended first.
    """
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    chunk: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(chunk) > limit:
            raise too_large(limit)
        return chunk
    length = stated_length(headers.get(b"content-length"), limit)
    buffer = _aligned(length or max(2 * len(chunk), _FIRST_GUESS), json_bytes)
    filled = 0
    while True:
        end = filled + len(chunk)
        if end > limit:
            raise too_large(limit)
        if end > len(buffer):
            grown = _aligned(min(max(2 * len(buffer), end), limit), json_bytes)
            grown[:filled] = buffer[:filled]
            buffer = grown
        buffer[filled:end] = chunk
        filled = end
        if not message.get("more_body", False):
            return buffer[:filled]
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk = message.get("body", b"")


def _aligned(size: int, json_bytes: int) -> memoryview:
    """Memory of ``size`` bytes whose byte ``json_bytes`` is aligned. Not zeroed: untouched pages cost nothing."""
    memory = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -(memory.ctypes.data + json_bytes) % _ALIGNMENT
    return memory.data[start : start + size]


def too_large(limit: int, setting: str = "limits.max_body_bytes") -> PillionError:
    """The error for a body beyond the limit."""
    return PillionError(
        ErrorCode.PAYLOAD_TOO_LARGE,
        f"the body is larger than {limit} bytes",
        field="Content-Length",
        remedy=f"send a smaller batch, or raise {setting}",
    )
