"""``multipart/form-data`` as it arrives, in memory that does not depend on its size (RFC 7578, RFC 2046 section 5.1).

A parser without I/O: it is fed what came and gives what that completes. Nothing but the headers of a part is kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MultipartParser", "Part", "boundary_of"]

_MAX_HEADERS: Final = 16 * 1024
_MAX_PREAMBLE: Final = 16 * 1024
_BOUNDARY: Final = re.compile(rb"""boundary=(?:"([^"\r\n]{1,70})"|([^\s;,"]{1,70}))""", re.IGNORECASE)
_PARAMETER: Final = re.compile(r""";\s*([A-Za-z*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))""")
_ESCAPED: Final = re.compile(r"""\\(["\\])""")


class Part(msgspec.Struct, frozen=True):
    """The beginning of a part."""

    name: str
    filename: str | None
    """None for a field that is no file."""


def boundary_of(content_type: bytes) -> bytes:
    """The boundary that a content type names.

    Raises:
        PillionError: ``INVALID_ARGUMENT``; it names none.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            "Content-Type: multipart/form-data without a boundary",
            field="Content-Type",
            remedy="leave the header to the client, as curl -F does",
        )
    return found[1] or found[2]


class MultipartParser:
    """One body.

    Args:
        boundary: what stands between the parts.
        max_parts: more are refused.
    """

    def __init__(self, boundary: bytes, max_parts: int = 20_000) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # the first delimiter may stand at the very beginning
        self._state = self._preamble
        self._left = max_parts
        self.complete = False
        """Whether the last delimiter has come."""

    def feed(self, data: bytes) -> Iterator[Part | bytes | None]:
        """The beginnings of parts, the bytes of the part that was begun last, and None at the end of each."""
        self._buffer += data
        while True:
            before = len(self._buffer), self._state
            yield from self._state()
            if (len(self._buffer), self._state) == before:
                return

    def close(self) -> None:
        """The body has ended.

        Raises:
            PillionError: ``INVALID_ARGUMENT``; not there.
        """
        if not self.complete:
            raise _malformed("it ends within a part")

    def _preamble(self) -> Iterator[Part | bytes | None]:
        at = self._buffer.find(self._delimiter)
        if at < 0:
            if len(self._buffer) > _MAX_PREAMBLE:
                raise _malformed("the boundary does not come")
            return
        self._after_delimiter(at)
        yield from ()

    def _after_delimiter(self, at: int) -> None:
        """Go on behind a delimiter, once it is known what follows it."""
        end = at + len(self._delimiter)
        line = self._buffer.find(b"\r\n", end)
        rest = bytes(self._buffer[end : end + 2])
        if rest == b"--":
            self.complete = True
            self._buffer.clear()
            self._state = self._epilogue
        elif line >= 0:
            if self._buffer[end:line].strip(b" \t"):
                raise _malformed("something follows a boundary")
            del self._buffer[: line + 2]
            self._state = self._headers
            self._left -= 1
            if self._left < 0:
                raise _malformed("it has too many parts")
        elif len(self._buffer) - end > _MAX_PREAMBLE:
            raise _malformed("something follows a boundary")

    def _headers(self) -> Iterator[Part | bytes | None]:
        at = self._buffer.find(b"\r\n\r\n")
        if self._buffer.startswith(b"\r\n"):
            raise _malformed("a part has no Content-Disposition")
        if at < 0 or at > _MAX_HEADERS:
            if len(self._buffer) > _MAX_HEADERS:
                raise _malformed(f"the headers of a part are larger than {_MAX_HEADERS} bytes")
            return
        part = _described(bytes(self._buffer[:at]))
        # The line break stays: it belongs to the delimiter of a part without content.
        del self._buffer[: at + 2]
        self._state = self._content_begun
        yield part

    def _content_begun(self) -> Iterator[Part | bytes | None]:
        if len(self._buffer) < len(self._delimiter):
            return
        if not self._buffer.startswith(self._delimiter):
            del self._buffer[:2]
        self._state = self._content
        yield from ()

    def _content(self) -> Iterator[Part | bytes | None]:
        at = self._buffer.find(self._delimiter)
        if at >= 0:
            if not self._decidable(at):
                return
            if at:
                yield bytes(self._buffer[:at])
            yield None
            self._after_delimiter(at)
            return
        # A delimiter may have begun to arrive.
        keep = self._buffer.rfind(b"\r", max(0, len(self._buffer) - len(self._delimiter)))
        ready = len(self._buffer) if keep < 0 else keep
        if ready:
            yield bytes(self._buffer[:ready])
            del self._buffer[:ready]

    def _decidable(self, at: int) -> bool:
        """Whether what follows a delimiter is there, too."""
        end = at + len(self._delimiter)
        return (
            self._buffer.startswith(b"--", end)
            or self._buffer.find(b"\r\n", end) >= 0
            or (len(self._buffer) - end > _MAX_PREAMBLE)
        )

    def _epilogue(self) -> Iterator[Part | bytes | None]:
        self._buffer.clear()
        yield from ()


def _described(head: bytes) -> Part:
    """Name and file name of a part; other headers say nothing that is needed."""
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon:
            raise _malformed("a part has a header without a colon")
        if name.strip().lower() != b"content-disposition":
            continue
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise _malformed("a file name is not UTF-8") from None
        if text.strip().partition(";")[0].strip().lower() != "form-data":
            break
        values = {found[1].lower(): _unquoted(found) for found in _PARAMETER.finditer(text)}
        if "name" not in values:
            break
        return Part(values["name"], values.get("filename"))
    raise _malformed("a part has no 'Content-Disposition: form-data' with a name")


def _unquoted(found: re.Match[str]) -> str:
    """As browsers and curl write it: quotes escaped by percent or backslash, everything else as it is."""
    text = found[2] if found[2] is not None else found[3]
    return _ESCAPED.sub(r"\1", text).replace("%22", '"')


def _malformed(why: str) -> PillionError:
    return PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"the multipart body is malformed: {why}",
        field="body",
        remedy="send it as curl -F does",
    )
