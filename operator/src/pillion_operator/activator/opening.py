"""The first bytes of a held connection: whether they ask for a pod, and what a server is to hear later. Pure."""

from __future__ import annotations

import re
from typing import Final

from pillion_operator.activator.http2 import PREFACE, AckFilter, Http2Hold

__all__ = ["Opening"]

#: The request line of HTTP/1, as far as it is needed to answer in kind. Source: RFC 9112, section 3.
_HTTP_1: Final = re.compile(rb"[A-Z]{3,20} [^\r\n]{1,}")


class Opening:
    """What a client has sent so far. Plain HTTP/2 wakes with its first request, anything else with its first byte."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._http2: Http2Hold | None = None

    @property
    def wakes(self) -> bool:
        """Whether a pod is asked for."""
        if self._http2 is not None:
            return self._http2.wakes
        return bool(self._held) and not PREFACE.startswith(self._held)

    @property
    def size(self) -> int:
        """How many bytes are held."""
        return len(self._held) if self._http2 is None else self._http2.size

    @property
    def is_http_1(self) -> bool:
        """Whether the client understands an answer of plain HTTP/1."""
        return self._http2 is None and _HTTP_1.match(self._held) is not None

    def feed(self, data: bytes) -> bytes:
        """Take what the client sent; return what to answer now.

        Raises:
            Http2Error: it is HTTP/2 that nobody could serve.
        """
        if self._http2 is not None:
            return self._http2.feed(data)
        self._held += data
        if not self._held.startswith(PREFACE):
            return b""
        self._http2 = Http2Hold()
        return self._http2.greet() + self._http2.feed(bytes(self._held[len(PREFACE) :]))

    def release(self) -> tuple[bytes, AckFilter, AckFilter]:
        """Return what the server is to hear first, and the filters of what client and server send from then on."""
        if self._http2 is None:
            return bytes(self._held), AckFilter(0), AckFilter(0)
        upward, rest = self._http2.upward()
        return self._http2.replay() + upward.feed(rest), upward, self._http2.downward()
