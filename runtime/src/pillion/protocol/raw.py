"""Tensor bytes as the binary tensor extension and gRPC's raw contents carry them.

Elements are little-endian, row-major, without padding. BOOL is one byte of 0 or 1. An element of BYTES is its length
as a little-endian uint32 and then its bytes. Source: Open Inference Protocol, "Tensor Data"; binary tensor data
extension.
"""

from __future__ import annotations

import math
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.errors import ErrorCode, PillionError
from pillion.tensors import Datatype, dtype_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PLAIN", "RAW_ONLY", "from_raw", "plain_from_raw", "to_raw"]

Array = np.ndarray[Any, np.dtype[Any]]
RAW_ONLY: Final = frozenset({Datatype.FP16, Datatype.BF16})
"""Datatypes without a form in JSON and without a typed form in protobuf."""
_LENGTH: Final = struct.Struct("<I")
PLAIN: Final[dict[Datatype, np.dtype[Any]]] = (
    {datatype: dtype_of(datatype) for datatype in Datatype if datatype not in (Datatype.BOOL, Datatype.BYTES)}
    if sys.byteorder == "little"
    else {}
)
_LITTLE: Final = {datatype: dtype_of(datatype).newbyteorder("<") for datatype in Datatype}


def plain_from_raw(
    data: memoryview | bytes, datatype: Datatype, shape: Sequence[int], max_elements: int
) -> Array | None:
    """The tensor if it is numbers, whole, aligned and not empty; None leaves it, and its faults, to :func:`from_raw`.

    What a small tensor costs: no names of fields are made, nothing is walked through.
    """
    dtype = PLAIN.get(datatype)
    if dtype is None or not shape:
        return None
    count = math.prod(shape)
    if not 0 < count <= max_elements or min(shape) < 0 or len(data) != count * dtype.itemsize:
        return None
    array: Array = np.frombuffer(data, dtype)
    return array.reshape(shape) if array.flags.aligned else None


def from_raw(
    data: memoryview | bytes, datatype: Datatype, shape: Sequence[int], count: int, field: str, max_string_bytes: int
) -> Array:
    """The tensor held by ``data``, as a view of it wherever that is possible.

    Copies only a tensor whose first byte is not aligned to its element size (the transports place large bodies so
    that it is), and BYTES, whose elements become Python objects. The array may be read-only.

    Args:
        data: exactly the bytes of this tensor.
        datatype: how to read them.
        shape: the shape the client stated; ``count`` is its product, already checked.
        count: number of elements.
        field: where the size or data came from, for errors.
        max_string_bytes: limit of one BYTES element.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` when size and shape disagree, or the content is not of that datatype.
    """
    if datatype is Datatype.BYTES:
        return _unpack(data, count, field, max_string_bytes).reshape(shape)
    dtype = _LITTLE[datatype]
    if len(data) != count * dtype.itemsize:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"{field}: {len(data)} bytes, but shape {list(shape)} of {datatype} takes {count * dtype.itemsize}",
            field=field,
        )
    array: Array = np.frombuffer(data, dtype=dtype).reshape(shape)
    if datatype is Datatype.BOOL and array.size and array.view(np.uint8).max() > 1:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: a BOOL is one byte of 0 or 1", field=field)
    if not array.flags.aligned:
        array = array.copy()
    return array if sys.byteorder == "little" else array.astype(dtype_of(datatype))


def _unpack(data: memoryview | bytes, count: int, field: str, max_string_bytes: int) -> Array:
    quick = _unpack_quick(bytes(data), count) if len(data) <= max_string_bytes else None
    return _unpack_checked(data, count, field, max_string_bytes) if quick is None else quick


def _unpack_quick(content: bytes, count: int) -> Array | None:
    """The elements if lengths and size fit together; None leaves it, and its faults, to :func:`_unpack_checked`.

    A column of a table has thousands of short texts: nothing is checked for each of them that the end does not show.
    """
    # An element takes four bytes at least: this bounds the work by what was really sent.
    if count * 4 > len(content):
        return None
    unpack = _LENGTH.unpack_from
    found: list[bytes] = []
    offset = 0
    try:
        for _ in range(count):
            start = offset + 4
            offset = start + unpack(content, offset)[0]
            found.append(content[start:offset])
    except struct.error:
        return None
    if offset != len(content):
        return None
    elements = np.empty(count, dtype=object)
    elements[:] = found
    return elements


def _unpack_checked(data: memoryview | bytes, count: int, field: str, max_string_bytes: int) -> Array:
    view = memoryview(data)
    size = len(view)
    # An element takes four bytes at least: this bounds the allocation by what was really sent.
    if count * 4 > size:
        raise _bytes_error(field, f"{size} bytes cannot hold {count} elements with a length each")
    elements = np.empty(count, dtype=object)
    offset = 0
    for index in range(count):
        if offset + 4 > size:
            raise _bytes_error(field, f"ends before the length of element {index}")
        (length,) = _LENGTH.unpack_from(view, offset)
        offset += 4
        if length > size - offset:
            raise _bytes_error(field, f"element {index} claims {length} bytes, {size - offset} are left")
        if length > max_string_bytes:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"{field}: element {index} has {length} bytes, more than {max_string_bytes}",
                field=field,
                remedy="raise limits.max_string_bytes",
            )
        elements[index] = bytes(view[offset : offset + length])
        offset += length
    if offset != size:
        raise _bytes_error(field, f"{size - offset} bytes are left over after {count} elements")
    return elements


def _bytes_error(field: str, problem: str) -> PillionError:
    return PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"{field}: {problem}",
        field=field,
        remedy="each BYTES element is a little-endian uint32 length followed by its bytes",
    )


def to_raw(data: Array, datatype: Datatype) -> memoryview:
    """The bytes of a tensor, as a view of its memory where it is contiguous and little-endian (never for BYTES)."""
    if datatype is Datatype.BYTES:
        parts: list[bytes] = []
        for element in data.ravel():
            content = element.encode() if isinstance(element, str) else bytes(element)
            parts += (_LENGTH.pack(len(content)), content)
        return memoryview(b"".join(parts))
    # reshape, not ravel: a zero-dimensional array has no buffer to cast.
    flat = np.ascontiguousarray(data, dtype=_LITTLE[datatype]).reshape(-1)
    return flat.view(np.uint8).data if flat.size else memoryview(b"")
