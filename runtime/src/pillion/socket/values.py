"""What crosses a socket: values as MessagePack, and the bytes of arrays behind them, as they lie in memory.

Never pickle: reading what a stranger sent must not be able to run anything.

A body is ``u32`` (length of the MessagePack), the MessagePack of a list, zeros up to a multiple of 16, and the buffers,
each filled up in the same way. An array is extension type 1: the MessagePack of ``[dtype, shape, offset]``; bytes of
their own are type 2: ``[size, offset]``. Offsets count from the first buffer.
"""

from __future__ import annotations

import math
import re
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.socket.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Part = bytes | memoryview

__all__ = ["pack", "size_of", "unpack"]

_ARRAY: Final = 1
_BYTES: Final = 2
_ALIGN: Final = 16
_KINDS: Final = frozenset("biufcmMSU")
_DTYPE: Final = re.compile(r"[<|](?:[biufcSU][0-9]{1,9}|[mM]8(?:\[[0-9]{0,6}[a-zA-Z]{1,2}\])?)")
"""As numpy writes those kinds; it would read much else."""
_LENGTH: Final = struct.Struct("<I")
_RAW_BYTES: Final = 4096
"""Bytes objects from which they are not copied into the MessagePack, where they are all that is sent."""
_LITTLE: Final = sys.byteorder == "little"


class _Local(threading.local):
    """What is being packed or unpacked by this thread."""

    buffers: list[Part]
    offset: int
    body: memoryview


_NOW = _Local()


def pack(items: Sequence[object]) -> list[Part]:
    """A body, in the parts that it is to be written in; arrays are not copied.

    Args:
        items: a list of values: None, booleans, numbers, text, bytes, dates, UUIDs, lists, tuples, sets, dicts,
            dataclasses, Structs and numpy arrays of numbers, dates or text, nested as one likes.

    Raises:
        TypeError: one is something else.
    """
    _NOW.buffers, _NOW.offset = [], 0
    try:
        head = _ENCODER.encode([_raw(item) for item in items])
        buffers = _NOW.buffers
    except (OverflowError, RecursionError, ValueError) as error:
        raise TypeError(f"it cannot be sent: {error}") from error
    finally:
        _NOW.buffers = []
    start = _LENGTH.pack(len(head))
    if not buffers:
        return [start + head]
    return [start + head + bytes(-(_LENGTH.size + len(head)) % _ALIGN), *buffers]


def size_of(parts: Sequence[Part]) -> int:
    """How many bytes they are together."""
    return sum(map(len, parts))


def unpack(body: bytes) -> list[Any]:
    """The items of a body. Arrays are views of it, and cannot be written to.

    Raises:
        ProtocolError: it is none.
    """
    if len(body) < _LENGTH.size:
        raise ProtocolError(f"a body of {len(body)} bytes is none")
    (length,) = _LENGTH.unpack_from(body)
    end = _LENGTH.size + length
    if end > len(body):
        raise ProtocolError("a body ends before its values do")
    view = memoryview(body)
    _NOW.body = view[end + (-end % _ALIGN) :]
    try:
        items = _DECODER.decode(view[_LENGTH.size : end])
    except (msgspec.DecodeError, RecursionError, OverflowError, ValueError, TypeError) as error:
        raise ProtocolError(f"a body cannot be read: {error}") from error
    finally:
        _NOW.body = memoryview(b"")
    if not isinstance(items, list):
        raise ProtocolError("a body is no list of values")
    return items


def _raw(item: object) -> object:
    if isinstance(item, bytes) and len(item) < _RAW_BYTES:
        return item
    return _Wrapped(item) if isinstance(item, (bytes, bytearray, memoryview)) else item


class _Wrapped:
    """Bytes that are to lie behind the MessagePack: msgspec writes bytes itself, and asks for what it does not know."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data = data


def _add(data: memoryview) -> int:
    """Put a buffer behind the others; where it begins."""
    at = _NOW.offset
    gap = -data.nbytes % _ALIGN
    _NOW.buffers.append(data)
    if gap:
        _NOW.buffers.append(bytes(gap))
    _NOW.offset += data.nbytes + gap
    return at


def _packed(value: object) -> object:
    """What msgspec does not know."""
    if isinstance(value, _Wrapped):
        data = memoryview(value.data).cast("B")
        return msgspec.msgpack.Ext(_BYTES, _PLAIN.encode([data.nbytes, _add(data)]))
    numpy = sys.modules.get("numpy")  # who has an array has imported it
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            if value.dtype.kind not in _KINDS:
                raise TypeError(f"an array of dtype {value.dtype} cannot be sent: numbers, dates and text can")
            array = numpy.require(value, requirements="C")
            if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and not _LITTLE):
                array = array.astype(array.dtype.newbyteorder("<"))
            at = _add(array.reshape(-1).view(numpy.uint8).data) if array.nbytes else 0
            return msgspec.msgpack.Ext(_ARRAY, _PLAIN.encode([array.dtype.str, array.shape, at]))
        if isinstance(value, numpy.generic):
            return value.item()
    raise TypeError(
        f"a {type(value).__qualname__} cannot be sent: numbers, text, bytes, dates, lists, dicts, dataclasses and "
        "numpy arrays can"
    )


def _unpacked(code: int, data: memoryview) -> object:
    if code == _BYTES:
        size, at = _SLICE.decode(data)
        return bytes(_part(at, size))
    if code == _ARRAY:
        dtype, shape, at = _SHAPE.decode(data)
        try:
            import numpy as np  # noqa: PLC0415 - the base install has none
        except ImportError:
            raise ProtocolError("an array has come, and numpy is not installed here: pip install numpy") from None
        try:
            kind = np.dtype(dtype) if _DTYPE.fullmatch(dtype) else None
        except TypeError:
            kind = None
        if kind is None or min(shape, default=0) < 0:
            raise ProtocolError(f"an array of dtype {dtype!r} and shape {shape} has come, which cannot be")
        size = math.prod(shape) * kind.itemsize
        return np.frombuffer(_part(at, size), kind).reshape(shape) if size else np.empty(shape, kind)
    raise ProtocolError(f"extension type {code} of MessagePack is none of ours")


def _part(at: int, size: int) -> memoryview:
    if at < 0 or size < 0 or at + size > len(_NOW.body):
        raise ProtocolError("a buffer lies outside of its body")
    return _NOW.body[at : at + size]


_PLAIN = msgspec.msgpack.Encoder()
_ENCODER = msgspec.msgpack.Encoder(enc_hook=_packed)
_DECODER = msgspec.msgpack.Decoder(ext_hook=_unpacked)
_SLICE = msgspec.msgpack.Decoder(tuple[int, int])
_SHAPE = msgspec.msgpack.Decoder(tuple[str, tuple[int, ...], int])
