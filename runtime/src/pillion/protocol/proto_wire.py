"""Cutting raw tensors out of a serialized ModelInferRequest without copying them, and appending them to a response.

protobuf's Python API copies a ``bytes`` field twice: into the message, and again into the Python object. For tensors
of megabytes that is most of the time a request takes. The wire format makes it easy to avoid: a field of the message
itself is a tag and, for bytes, a length. Source: protobuf "Encoding".
"""

from __future__ import annotations

from typing import Final

__all__ = ["append_bytes_field", "cut_bytes_field"]

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_MOST_FIELDS: Final = 8192
"""Walked through here, which holds the event loop up for less than 5 ms. Requests have a few fields for each tensor;
64 MiB of fields of two bytes would take half a minute.
"""


def cut_bytes_field(message: bytes, field: int) -> tuple[bytes, list[memoryview]] | None:
    """The message without the occurrences of a bytes field, and those as views of ``message``, in order.

    None when the message cannot be walked through, or has very many fields; protobuf's own parser then reads it, or
    says what is wrong with it.
    """
    view = memoryview(message)
    size = len(view)
    wanted = field << 3 | _LENGTH
    kept: list[memoryview] = []
    cut: list[memoryview] = []
    position = start = fields = 0
    while position < size:
        begin = position
        fields += 1
        if fields > _MOST_FIELDS:
            return None
        tag, position = _varint(view, position)
        if position < 0:
            return None
        kind = tag & 7
        if kind == _LENGTH:
            length, position = _varint(view, position)
            if position < 0 or length > size - position:
                return None
            content = position
            position += length
            if tag == wanted:
                cut.append(view[content:position])
                kept.append(view[start:begin])
                start = position
        elif kind == _VARINT:
            _, position = _varint(view, position)
            if position < 0:
                return None
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            return None
    if position != size:
        return None
    kept.append(view[start:])
    return b"".join(kept), cut


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """Value and next position; the position is -1 when the view ends first or the number has more than 64 bits."""
    value = shift = 0
    size = len(view)
    while position < size and shift < 64:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return 0, -1


def append_bytes_field(head: bytes, field: int, values: list[memoryview]) -> bytes:
    """The serialized message ``head`` with a repeated bytes field behind it: one copy of each value."""
    if not values:
        return head
    parts: list[bytes | memoryview] = [head]
    tag = _encode_varint(field << 3 | _LENGTH)
    for value in values:
        parts += (tag + _encode_varint(len(value)), value)
    return b"".join(parts)


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
