"""``multipart/form-data`` (RFC 7578): the parts of a body, read as they arrive; large files go to disk on the way.

Bytes are parsed by python-multipart, which Starlette uses. What it does not bound is bounded here: the number of parts
and the size of each part's headers. The body as a whole has the limit of every body.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from typing import TYPE_CHECKING, Any, Final, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pillion.authoring.file import OCTETS, File
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.task_form import FormPart
from pillion.transport.http.body import ClientDisconnected, read_body, too_large
from pillion.transport.http.content_coding import content_coding
from pillion.transport.http.headers import timeout_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from python_multipart.multipart import MultipartCallbacks

    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]

__all__ = ["read_form"]

_IN_MEMORY: Final = 1024 * 1024
"""Bytes of a file that are kept in memory; a larger one is on disk."""
_PIECE: Final = 256 * 1024
"""Bytes that are parsed, or written to disk, at a time."""


async def read_form(
    headers: Mapping[bytes, bytes], receive: Receive, options: DispatchOptions, caller: Caller
) -> tuple[list[FormPart], float | None]:
    """The parts in their order, and the deadline on the data plane's clock where the request brings one.

    Raises:
        PillionError: malformed, or beyond a limit.
        ClientDisconnected: the connection ended first.
    """
    coding = content_coding(headers)
    seconds = timeout_seconds(headers)
    deadline = None if seconds is None else options.clock() + seconds
    form = _Form(headers.get(b"content-type", b""), options)
    try:
        if coding is not None:
            body = await read_body(receive, await receive(), headers, options.max_body_bytes)
            await form.feed(await options.expander.expand(body, coding, caller.held))
        else:
            await _feed(form, receive, options.max_body_bytes)
        return form.finished(), deadline
    except BaseException:
        form.discard()
        raise


async def _feed(form: _Form, receive: Receive, limit: int) -> None:
    received = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        received += len(piece)
        if received > limit:
            raise too_large(limit)
        await form.feed(piece)


class _Form:
    """Collects parts from the parser's callbacks."""

    def __init__(self, content_type: bytes, options: DispatchOptions) -> None:
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary")
        if not boundary:
            raise _malformed("its Content-Type names no boundary")
        self._most = options.max_form_parts
        self._most_head = options.max_part_header_bytes
        self._parts: list[FormPart] = []
        self._unwritten: list[tuple[int, _Part]] = []
        """Parts that have ended and are not on disk yet, with their places."""
        self._field = b""
        self._value = b""
        self._head: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._part: _Part | None = None
        self._ended = False
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, cast("MultipartCallbacks", callbacks))
        except FormParserError as error:
            raise _malformed(str(error)) from None

    async def feed(self, data: bytes | memoryview) -> None:
        """Parse more of the body."""
        for start in range(0, len(data), _PIECE):
            try:
                self._parser.write(bytes(data[start : start + _PIECE]))
            except FormParserError as error:
                raise _malformed(str(error)) from None
            while self._unwritten:
                place, part = self._unwritten[-1]
                await asyncio.to_thread(part.write)
                self._parts[place] = part.finished()
                self._unwritten.pop()
            if self._part is not None and self._part.pending >= _PIECE:
                await asyncio.to_thread(self._part.write)

    def finished(self) -> list[FormPart]:
        """All parts.

        Raises:
            PillionError: the body ended before its last boundary.
        """
        if not self._ended:
            raise _malformed("it ends before its last boundary")
        # The parser's callbacks are bound to this object, and a file is deleted with its last reference: not by cycles.
        parts, self._parts = self._parts, []
        return parts

    def discard(self) -> None:
        """Let go of what was received."""
        if self._part is not None:
            self._part.discard()
        for _, part in self._unwritten:
            part.discard()
        self._unwritten.clear()
        self._parts.clear()

    # --- the parser's callbacks

    def _begin(self) -> None:
        if len(self._parts) >= self._most:
            raise PillionError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                f"the form has more than {self._most} parts",
                field="body",
                remedy="send fewer parts, or raise limits.max_form_parts",
            )
        self._head, self._head_bytes = {}, 0

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._most_head:
            raise PillionError(
                ErrorCode.HEADERS_TOO_LARGE, f"the headers of a part are larger than {self._most_head} bytes",
                field="body",
            )  # fmt: skip

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._head[self._field.lower()] = self._value
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        kind, said = parse_options_header(self._head.get(b"content-disposition", b""))
        name = said.get(b"name")
        if kind != b"form-data" or not name:
            raise _malformed(f"part {len(self._parts) + 1} has no name: Content-Disposition: form-data; name=...")
        filename = said.get(b"filename")
        media, _ = parse_options_header(self._head.get(b"content-type", b""))
        self._part = _Part(_text(name), None if filename is None else _text(filename), media.decode("latin-1"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part.add(data[start:end])

    def _part_end(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        if part.pending:
            self._unwritten.append((len(self._parts), part))
            self._parts.append(part.promised())
        else:
            self._parts.append(part.finished())

    def _end(self) -> None:
        self._ended = True


class _Part:
    """A part that is being received. A file's first bytes are in memory; once there are too many, all are on disk."""

    __slots__ = ("_descriptor", "_filename", "_media", "_name", "_path", "_pieces", "_size", "pending")

    def __init__(self, name: str, filename: str | None, media: str) -> None:
        self._name = name
        self._filename = filename
        self._media = media
        self._pieces: list[bytes] = []
        self._size = 0
        self.pending = 0
        """Bytes that wait to be written to disk."""
        self._descriptor = -1
        self._path = ""

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._filename is not None and self._size > _IN_MEMORY:
            self.pending = self._size if self._descriptor < 0 else self.pending + len(piece)

    def write(self) -> None:
        """Write what waits. In a thread."""
        if self._descriptor < 0:
            self._descriptor, self._path = tempfile.mkstemp(prefix="pillion-")
        content = memoryview(b"".join(self._pieces))
        self._pieces.clear()
        self.pending = 0
        while content:
            content = content[os.write(self._descriptor, content) :]

    def promised(self) -> FormPart:
        """What stands in its place until it is on disk."""
        return FormPart(self._name, self._media)

    def finished(self) -> FormPart:
        """The part, of which nothing waits to be written."""
        if self._filename is None:
            return FormPart(self._name, self._media, content=b"".join(self._pieces))
        # curl names a type only where it knows one; what it does not know is guessed by the name.
        media = None if self._media in ("", OCTETS) else self._media
        if self._descriptor < 0:
            file = File(b"".join(self._pieces), filename=self._filename, media_type=media)
        else:
            os.close(self._descriptor)
            file = File.spooled(self._path, self._filename, media)
            self._descriptor = -1
        return FormPart(self._name, self._media, file=file)

    def discard(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            with contextlib.suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108 - a name as tempfile gave it


def _text(value: bytes) -> str:
    """Names are UTF-8 (RFC 7578, section 5.1); what is not is taken byte by byte."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _malformed(why: str) -> PillionError:
    return PillionError(
        ErrorCode.INVALID_ARGUMENT, f"the form is malformed: {why}", field="body", remedy="send it as curl -F does"
    )
