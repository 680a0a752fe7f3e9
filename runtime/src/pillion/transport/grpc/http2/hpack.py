"""Header compression (RFC 7541): decoding with the peer's dynamic table, and fields that need no table to send.

What gRPC clients send is the same few fields call after call, each one byte once it is in the table. The tuples of the
table are handed out as they are, so that two calls of one kind give the same objects and are compared quickly.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from pillion.transport.grpc.http2 import huffman

__all__ = ["Field", "HeaderBlockError", "HeaderDecoder", "OversizedHeadersError", "literal"]

Field = tuple[bytes, bytes]
"""Name and value as they were sent."""

_STATIC: Final[tuple[Field, ...]] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)
_OVERHEAD: Final = 32
"""What an entry counts on top of its bytes (section 4.1)."""
_LONGEST_INTEGER: Final = 5
"""Bytes after the prefix; more would only say zeros or sizes nobody can mean."""


class HeaderBlockError(Exception):
    """The block cannot be decoded; the connection's table is lost with it."""


class OversizedHeadersError(Exception):
    """The fields are larger than allowed. The table is in order: all of the block has been decoded."""


class HeaderDecoder:
    """Decodes the blocks of one connection, in their order.

    Args:
        max_list_bytes: size of all fields of a block, each counted with 32 bytes on top.
        max_table_bytes: size of the table, as told in SETTINGS_HEADER_TABLE_SIZE.
    """

    __slots__ = ("_allowed", "_entries", "_max_list", "_max_table", "_size")

    def __init__(self, max_list_bytes: int, max_table_bytes: int = 4096) -> None:
        self._max_list = max_list_bytes
        self._allowed = max_table_bytes
        self._max_table = max_table_bytes
        self._entries: deque[Field] = deque()
        self._size = 0

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a block.

        Raises:
            HeaderBlockError: it is malformed.
            OversizedHeadersError: it is too large.
        """
        fields: list[Field] = []
        entries, end, at, size = self._entries, len(block), 0, 0
        limit = self._max_list
        while at < end:
            first = block[at]
            if first > 0x80 and first < 0xFF:
                # The usual case in place: an index in one byte.
                at += 1
                index = first & 0x7F
                if index <= 61:
                    field = _STATIC[index - 1]
                elif index - 62 < len(entries):
                    field = entries[index - 62]
                else:
                    raise HeaderBlockError("an index beyond the table")
            elif first & 0x80:
                index, at = _integer(block, at, 0x7F)
                field = self._entry(index)
            elif first & 0x60 == 0x20:
                if fields:
                    raise HeaderBlockError("a change of the table's size behind a field")
                wanted, at = _integer(block, at, 0x1F)
                self._resize(wanted)
                continue
            else:
                indexed = first & 0x40
                index, at = _integer(block, at, 0x3F if indexed else 0x0F)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                field = (name, value)
                if indexed:
                    self._add(field)
            size += len(field[0]) + len(field[1]) + _OVERHEAD
            if size <= limit:
                fields.append(field)
        if size > limit:
            raise OversizedHeadersError
        return fields

    def _entry(self, index: int) -> Field:
        if index == 0:
            raise HeaderBlockError("an index of 0")
        if index <= len(_STATIC):
            return _STATIC[index - 1]
        index -= len(_STATIC) + 1
        if index >= len(self._entries):
            raise HeaderBlockError("an index beyond the table")
        return self._entries[index]

    def _add(self, field: Field) -> None:
        self._size += len(field[0]) + len(field[1]) + _OVERHEAD
        self._entries.appendleft(field)
        self._evict()

    def _resize(self, wanted: int) -> None:
        if wanted > self._allowed:
            raise HeaderBlockError("a table larger than allowed")
        self._max_table = wanted
        self._evict()

    def _evict(self) -> None:
        while self._size > self._max_table:
            name, value = self._entries.pop()
            self._size -= len(name) + len(value) + _OVERHEAD


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer (section 5.1) whose prefix is ``mask``, and where it ends."""
    try:
        value = block[at] & mask
        at += 1
        if value < mask:
            return value, at
        shift = 0
        for _ in range(_LONGEST_INTEGER):
            byte = block[at]
            at += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
    except IndexError:
        raise HeaderBlockError("it ends in a number") from None
    raise HeaderBlockError("a number that is too long")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string (section 5.2), and where it ends."""
    coded = at < len(block) and block[at] & 0x80
    length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise HeaderBlockError("it ends in a string")
    text = block[at:end]
    if coded:
        try:
            text = huffman.decode(text)
        except ValueError as error:
            raise HeaderBlockError(str(error)) from None
    return text, end


def literal(name: bytes, value: bytes) -> bytes:
    """A field as one that is never put in a table: nothing has to be remembered, and the other side cannot run out."""
    return b"\x00" + _sized(name) + _sized(value)


def _sized(text: bytes) -> bytes:
    length = len(text)
    if length < 0x7F:
        return bytes((length,)) + text
    length -= 0x7F
    out = bytearray(b"\x7f")
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out) + text
