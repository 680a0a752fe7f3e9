"""Tensors in messages between processes: small ones inside the message, large ones in shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from pillion.execution.segments import aligned
from pillion.tensors import Datatype, Tensor, dtype_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.execution.segments import Segment, SegmentPool

__all__ = ["INLINE_BYTES", "Layout", "Packed", "filled", "pack", "unpack"]

INLINE_BYTES: Final = 32 * 1024
"""Data up to this size goes through the socket, which is quicker than the bookkeeping of shared memory."""


class Packed(msgspec.Struct, array_like=True, gc=False):
    """One tensor. ``data`` is C-contiguous, in the machine's byte order; empty where ``offset`` says where it lies."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    data: bytes = b""
    offset: int = -1
    size: int = 0
    """Bytes in the segment."""
    lengths: bytes = b""
    """Of the elements of BYTES, UINT64 each; their bytes follow one another in the data."""
    missing: bytes = b""
    parameters: dict[str, bool | int | float | str] | None = None


class Layout:
    """Tensors on their way into a message: the large ones know where in a segment they will lie."""

    __slots__ = ("_large", "packed", "size")

    def __init__(self, tensors: Sequence[Tensor | None]) -> None:
        """Small data is copied here.

        Raises:
            TypeError: an array cannot be what its datatype says.
        """
        self.packed: list[Packed | None] = []
        self.size = 0
        """Bytes of the segment that the large ones need."""
        self._large: list[tuple[Packed, np.ndarray[Any, Any]]] = []
        for tensor in tensors:
            if tensor is None:
                self.packed.append(None)
                continue
            one = Packed(tensor.name, tensor.datatype, tensor.data.shape)
            if tensor.parameters:
                one.parameters = tensor.parameters
            if tensor.missing is not None:
                one.missing = tensor.missing.tobytes()
            data = tensor.data
            if tensor.datatype is Datatype.BYTES:
                data = _joined(tensor, one)
            elif data.dtype != dtype_of(tensor.datatype):
                data = data.astype(dtype_of(tensor.datatype), casting="same_kind")
            if data.nbytes <= INLINE_BYTES:
                one.data = data.tobytes()
            else:
                one.offset, one.size = self.size, data.nbytes
                self.size += aligned(data.nbytes)
                self._large.append((one, data))
            self.packed.append(one)

    def fill(self, segment: Segment) -> None:
        """Copy the large ones: the only copy of their data. From any thread."""
        for one, data in self._large:
            np.copyto(np.ndarray(data.shape, data.dtype, buffer=segment.map, offset=one.offset), data)

    def write(self, segment: Segment) -> None:
        """The same for a segment whose memory is not mapped yet."""
        for one, data in self._large:
            segment.write(np.ascontiguousarray(data).reshape(-1).view(np.uint8).data, one.offset)


def pack(tensors: Sequence[Tensor | None], pool: SegmentPool) -> tuple[list[Packed | None], Segment | None]:
    """The tensors for a message, and the segment that holds the large ones.

    Raises:
        TypeError: an array cannot be what its datatype says.
    """
    layout = Layout(tensors)
    return layout.packed, filled(layout, pool) if layout.size else None


def filled(layout: Layout, pool: SegmentPool) -> Segment:
    """A segment with the large tensors."""
    segment = pool.take(layout.size)
    try:
        layout.fill(segment)
    except BaseException:
        pool.give_back(segment.number)
        raise
    return segment


def _joined(tensor: Tensor, one: Packed) -> np.ndarray[Any, Any]:
    items: list[bytes] = tensor.data.ravel().tolist()
    one.lengths = np.fromiter(map(len, items), dtype=np.uint64, count=len(items)).tobytes()
    return np.frombuffer(b"".join(items), dtype=np.uint8)


def unpack(packed: Sequence[Packed | None], whole: np.ndarray[Any, Any] | None) -> list[Tensor | None]:
    """The tensors of a message. ``whole`` is the segment's view: the arrays are views of it, without a copy."""
    return [None if one is None else _tensor(one, whole) for one in packed]


def _tensor(one: Packed, whole: np.ndarray[Any, Any] | None) -> Tensor:
    buffer: Any = one.data
    offset = 0
    if one.offset >= 0:
        buffer, offset = whole, one.offset
    if one.datatype is Datatype.BYTES:
        data = _split(one, buffer, offset)
    elif one.offset >= 0 or buffer:
        data = np.ndarray(one.shape, dtype_of(one.datatype), buffer=buffer, offset=offset)
    else:
        data = np.empty(one.shape, dtype_of(one.datatype))
    missing = None
    if one.missing:
        missing = np.frombuffer(one.missing, dtype=np.bool_).reshape(one.shape)
    return Tensor(one.name, one.datatype, data, one.parameters or {}, missing)


def _split(one: Packed, buffer: Any, offset: int) -> np.ndarray[Any, Any]:  # noqa: ANN401 - bytes, or the segment's view
    joined = memoryview(buffer)
    data = np.empty(one.shape, dtype=np.object_)
    flat = data.reshape(-1)
    for position, length in enumerate(np.frombuffer(one.lengths, dtype=np.uint64).tolist()):
        flat[position] = bytes(joined[offset : offset + length])
        offset += length
    return data
