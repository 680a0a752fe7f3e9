"""Answers compressed for clients that ask for it (RFC 9110, section 12.5.3).

Most HTTP libraries ask for it by themselves, so it must not cost what it does not save: small answers, and tensors that
do not get smaller, go out as they are.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Final

from pillion.transport.http.answer import Answer
from pillion.transport.http.content_coding import CODINGS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["accepted_coding", "compressed"]

_LEVEL: Final = 1
"""A third of the time of the usual level, for a tenth more bytes."""
_AT_ONCE: Final = 64 * 1024
"""Bytes that the event loop waits for; more is left to a thread."""
_SAMPLE: Final = 16 * 1024
_WORTH_IT: Final = 0.8
"""What is left of a sample has to be less than this share."""


def accepted_coding(value: bytes) -> bytes | None:
    """The coding to use for an ``Accept-Encoding``: the one of the greatest weight, gzip before deflate."""
    best, weight = None, 0.0
    for entry in value.lower().split(b","):
        name, _, parameter = entry.partition(b";")
        coding = b"gzip" if name.strip() in (b"*", b"x-gzip") else name.strip()
        quality = _quality(parameter)
        if coding in CODINGS and (quality > weight or (quality == weight > 0 and coding == b"gzip")):
            best, weight = coding, quality
    return best


def _quality(parameter: bytes) -> float:
    name, _, number = parameter.partition(b"=")
    if name.strip() != b"q":
        return 1.0
    try:
        return float(number)
    except ValueError:
        return 0.0


async def compressed(answer: Answer, headers: Iterable[tuple[bytes, bytes]]) -> Answer:
    """The answer in a coding that the request's headers accept, where that makes it smaller; else as it is."""
    asked = b",".join(value for name, value in headers if name == b"accept-encoding")
    coding = accepted_coding(asked) if asked else None
    if coding is None or not _shrinks(answer):
        return answer
    if answer.size <= _AT_ONCE:
        body = _compress(answer, coding)
    else:
        body = await asyncio.to_thread(_compress, answer, coding)
    return Answer(
        body,
        status=answer.status,
        content_type=answer.content_type,
        headers=(*answer.headers, (b"content-encoding", coding), (b"vary", b"accept-encoding")),
        code=answer.code,
    )


def _shrinks(answer: Answer) -> bool:
    """Whether a sample does: of the last raw tensor where there are any, for they are most of the answer."""
    sample = (answer.parts[-1] if answer.parts else answer.body)[:_SAMPLE]
    return len(zlib.compress(sample, _LEVEL)) < _WORTH_IT * len(sample)


def _compress(answer: Answer, coding: bytes) -> bytes:
    stream = zlib.compressobj(_LEVEL, wbits=CODINGS[coding])
    pieces = [stream.compress(answer.body), *map(stream.compress, answer.parts), stream.flush()]
    return b"".join(pieces)
