"""Heads of answers whose length is stated, as they stand on the wire. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HEADER_RE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["stated"]

_LENGTH: Final = b"content-length: "
_MOST_NAMES: Final = 512
_CONTROLS: Final = bytes(code for code in (*range(32), 127) if code != ord("\t"))
_LINE_END: Final = 2
"""Bytes, and both are controls."""
_STARTS: Final[dict[bytes, bytes]] = {}
"""What lines begin with, by names that have been looked at: an application has a few."""


def stated(message: Mapping[str, Any]) -> tuple[bytes, int] | None:
    """The header lines of an ``http.response.start``, and how many bytes of body they promise.

    None where the length is not stated, or where a header is one that a server has to act on or to refuse.
    """
    headers: Iterable[tuple[bytes, bytes]] = message.get("headers", ())
    parts: list[bytes] = []
    length = None
    for name, value in headers:
        start = _STARTS.get(name) or _start(name)
        if start == _LENGTH:
            if length is not None or not value.isdigit():
                return None
            length = int(value)
        elif not start:
            return None
        parts += (start, value, b"\r\n")
    lines = b"".join(parts)
    ends = _LINE_END * (len(parts) // 3)
    if length is None or len(lines.translate(None, _CONTROLS)) + ends != len(lines):
        return None
    return lines, length


def _start(name: bytes) -> bytes:
    """What the line of a header begins with; empty for those that are not for us."""
    lower = name.lower()
    if lower in (b"connection", b"transfer-encoding") or HEADER_RE.search(name):
        return b""
    start = lower + b": "
    if len(_STARTS) < _MOST_NAMES:
        _STARTS[name] = start
    return start
