"""Answers compressed for clients that want it (RFC 9110, section 12.5.3).

HTTP libraries offer a list of codings without their users knowing (``gzip, deflate, br``), and zlib takes longer
for an answer than all else together. So a list is taken for an offer, which a server may decline; a client that
names one coding wants it. For it, too, small answers and tensors that do not get smaller go out as they are.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TYPE_CHECKING, Final

from pillion.transport.http.answer import Answer
from pillion.transport.http.content_coding import CODINGS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["compressed", "wanted_coding"]

_LEVEL: Final = 1
"""A third of the time of the usual level, for a tenth more bytes."""
_AT_ONCE: Final = 64 * 1024
"""Bytes that the event loop waits for; more is left to a thread."""
_SAMPLE: Final = 16 * 1024
_NEVER: Final = re.compile(rb"\s*q\s*=\s*0(\.0*)?\s*")
_WORTH_IT: Final = 0.8
"""What is left of a sample has to be less than this share."""


def wanted_coding(value: bytes) -> bytes | None:
    """The one coding that an ``Accept-Encoding`` names beside ``identity``; None for another, for several, for none."""
    named = [entry.partition(b";") for entry in value.lower().split(b",")]
    codings = [(name.strip(), weight) for name, _, weight in named if name.strip() not in (b"identity", b"")]
    if len(codings) != 1 or codings[0][0] not in CODINGS or _NEVER.fullmatch(codings[0][1]):
        return None
    return codings[0][0]


async def compressed(answer: Answer, headers: Iterable[tuple[bytes, bytes]]) -> Answer:
    """The answer in a coding that the request's headers name, where that makes it smaller; else as it is."""
    asked = b",".join(value for name, value in headers if name == b"accept-encoding")
    coding = wanted_coding(asked) if asked else None
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
