"""Request bodies that arrive compressed: which codings are taken, and expanding them under the body's limit.

Source: RFC 9110, sections 8.4 and 15.5.16. ``gzip`` is RFC 1952, ``deflate`` the zlib format of RFC 1950, not the bare
stream that some clients once meant by it.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Final

from pillion.errors import ErrorCode, PillionError
from pillion.transport.http.body import too_large

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.transport.http.budget import HeldBytes

__all__ = ["CODINGS", "Expander", "content_coding"]

CODINGS: Final[Mapping[bytes, int]] = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""zlib's window bits, which say the format, by the coding's name."""
_AT_ONCE: Final = 256 * 1024
"""Expanded bytes that the event loop waits for; the rest is left to a thread."""
_LARGE_TOGETHER: Final = 2
"""Larger bodies expanded at a time: a kilobyte may stand for a megabyte, so many senders must not add up."""


def content_coding(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The coding of the body; None where it is as it is.

    Raises:
        PillionError: ``UNSUPPORTED_MEDIA_TYPE``; the text lists what is taken.
    """
    value = headers.get(b"content-encoding")
    if value is None:
        return None
    coding = value.strip().lower()
    if coding in CODINGS:
        return coding
    if coding in (b"", b"identity"):
        return None
    raise PillionError(
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        f"Content-Encoding {value.decode('ascii', 'replace')[:40]!r} is not accepted",
        field="Content-Encoding",
        remedy="send the body as gzip or deflate, or uncompressed",
    )


class Expander:
    """Expands bodies, none to more than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._large = asyncio.Semaphore(_LARGE_TOGETHER)

    async def expand(self, body: bytes | memoryview, coding: bytes, held: HeldBytes | None = None) -> bytes:
        """The body that was meant; ``held`` is charged with it.

        Raises:
            PillionError: ``PAYLOAD_TOO_LARGE`` once it outgrows the limit; ``INVALID_ARGUMENT``: it is not in the
                coding that ``Content-Encoding`` says, ends early, or goes on after its end.
        """
        stream = zlib.decompressobj(CODINGS[coding])
        try:
            content = stream.decompress(body, min(_AT_ONCE, self._limit + 1))
            if stream.unconsumed_tail and len(content) <= self._limit:
                async with self._large:
                    content += await asyncio.to_thread(
                        stream.decompress, stream.unconsumed_tail, self._limit + 1 - len(content)
                    )
        except zlib.error as error:
            raise _faulty(coding, "is not in that coding") from error
        if len(content) > self._limit:
            raise too_large(self._limit)
        if not stream.eof:
            raise _faulty(coding, "ends before its end")
        if stream.unused_data:
            raise _faulty(coding, f"has {len(stream.unused_data)} bytes after its end")
        if held is not None:
            held.also(len(content))
        return content


def _faulty(coding: bytes, problem: str) -> PillionError:
    said = coding.decode()
    return PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"Content-Encoding: the body {problem} ({said})",
        field="Content-Encoding",
        remedy=f"compress the whole body once with {said}, or send it uncompressed",
    )
