"""Memory that two processes share, for tensors too large for a socket: one side writes, the other maps and reads.

A segment is a memory file (``memfd_create``) whose descriptor crosses the socket once, with the first message that uses
it. Later messages name it by number. The writer may use it again when the reader says that nothing looks at it any
more: the reader's arrays are views of the mapping, and the last of them to go is what counts, wherever it was kept.

Files are sealed against shrinking, so the one process cannot make the other fault by cutting them short. They belong to
no folder: they need no ``/dev/shm``, and the kernel frees them with the last process that maps them.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import weakref
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

__all__ = ["ALIGNMENT", "Segment", "SegmentMap", "SegmentPool", "aligned"]

ALIGNMENT: Final = 64
"""Where tensors begin in a segment: a cache line, which is also what vector instructions like best."""
_SMALLEST: Final = 64 * 1024
_WASTE: Final = 4
"""A segment is used for no less than this part of its size, so that a large one is not held by small tensors."""
_KEPT_BYTES: Final = 128 * 1024 * 1024
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def aligned(size: int) -> int:
    """``size`` rounded up to where the next tensor may begin."""
    return (size + ALIGNMENT - 1) & -ALIGNMENT


class Segment:
    """One memory file, as its writer holds it.

    Args:
        number: its name between writer and reader.
        least: bytes that it must have room for.
        at_once: whether all of its memory is mapped now. Mapping holds the interpreter's lock, so a thread beside an
            event loop had better :meth:`write` first, and let the kernel map what is there when it is used again.
    """

    __slots__ = ("descriptor", "map", "number", "size")

    def __init__(self, number: int, least: int, *, at_once: bool = True) -> None:
        self.number = number
        self.size = size = max(_SMALLEST, 1 << (least - 1).bit_length())
        self.descriptor: int | None = os.memfd_create(f"pillion-{number}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        """To be sent to the reader; None when that is done."""
        try:
            os.ftruncate(self.descriptor, size)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
            # In one go: faulting page by page while a tensor is copied takes several times as long.
            flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if at_once else 0)
            self.map = mmap.mmap(self.descriptor, size, flags=flags)
        except BaseException:
            self.announced()
            raise

    def write(self, data: memoryview, offset: int) -> None:
        """Write bytes through the descriptor, which the reader has not been sent yet."""
        if self.descriptor is None:
            raise ValueError("the segment is with its reader")
        while data:
            count = os.pwrite(self.descriptor, data, offset)
            data, offset = data[count:], offset + count

    def announced(self) -> None:
        """The reader has been sent the descriptor."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def close(self) -> None:
        """Let go of the memory on this side; where a thread copies into it, that goes on and keeps it until it ends."""
        self.announced()
        with contextlib.suppress(BufferError):
            self.map.close()


class SegmentPool:
    """The segments that one side writes to. One thread only.

    Args:
        kept_bytes: how much unused memory is kept for later tensors.
    """

    def __init__(self, kept_bytes: int = _KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._used: dict[int, Segment] = {}
        self._free: list[Segment] = []
        self._free_bytes = 0
        self._numbers = 0
        self.dropped: list[int] = []
        """Numbers that will not be used again, for the next message to the reader."""

    @property
    def bytes(self) -> int:
        """Memory held by this side's segments, in use or not."""
        return self._free_bytes + sum(segment.size for segment in self._used.values())

    def take(self, size: int) -> Segment:
        """A segment of at least ``size`` bytes that nobody reads."""
        segment = self.reused(size)
        if segment is None:
            segment = Segment(self.number(), size)
            self.adopt(segment)
        return segment

    def reused(self, size: int) -> Segment | None:
        """One of those that there are, where one fits."""
        fitting = [segment for segment in self._free if size <= segment.size <= max(size * _WASTE, _SMALLEST)]
        if not fitting:
            return None
        segment = min(fitting, key=_size)
        self._free.remove(segment)
        self._free_bytes -= segment.size
        self._used[segment.number] = segment
        return segment

    def number(self) -> int:
        """For a segment to be made and adopted."""
        self._numbers += 1
        return self._numbers

    def adopt(self, segment: Segment) -> None:
        """A new segment is in use."""
        self._used[segment.number] = segment

    def give_back(self, number: int) -> None:
        """The reader looks at that segment no more. Beyond what is kept, the longest unused go."""
        segment = self._used.pop(number, None)
        if segment is None:
            return
        self._free.append(segment)
        self._free_bytes += segment.size
        while self._free_bytes > self._kept_bytes:
            oldest = self._free.pop(0)
            self._free_bytes -= oldest.size
            if oldest.descriptor is None:
                self.dropped.append(oldest.number)
            oldest.close()

    def close(self) -> None:
        """Let go of everything."""
        for segment in (*self._free, *self._used.values()):
            segment.close()
        self._free.clear()
        self._used.clear()
        self._free_bytes = 0


def _size(segment: Segment) -> int:
    return segment.size


class SegmentMap:
    """The segments that the other side writes to, mapped for reading.

    Args:
        on_released: called with a segment's number when the last array that looked at it is gone; in whatever thread
            let go of it.
        writable: whether arrays may be written to. The other side does not look at a segment before it is released.
    """

    def __init__(self, on_released: Callable[[int], object], *, writable: bool = False) -> None:
        self._on_released = on_released
        self._protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._maps: dict[int, mmap.mmap] = {}
        self._views: dict[int, weakref.ref[Bytes]] = {}

    def attach(self, number: int, size: int, descriptor: int) -> None:
        """Map a new segment; the descriptor is closed.

        Raises:
            ValueError: the file could be cut short by its writer, or is smaller than it says.
        """
        try:
            if not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                raise ValueError("a segment of shared memory is not sealed against shrinking")
            if os.fstat(descriptor).st_size < size:
                raise ValueError("a segment of shared memory is smaller than it says")
            # Pages that are there already cost less one after the other than at once; but for those to be written to.
            flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if self._protection & mmap.PROT_WRITE else 0)
            self._maps[number] = mmap.mmap(descriptor, size, flags=flags, prot=self._protection)
        finally:
            os.close(descriptor)

    def view(self, number: int) -> Bytes:
        """All bytes of a segment. Arrays made of it keep it in use."""
        # A fresh array for each use: numpy makes it the base of every view, so its end is the end of them all.
        whole = np.frombuffer(self._maps[number], dtype=np.uint8)

        def ended(_: weakref.ref[Bytes]) -> None:
            self._views.pop(number, None)
            self._on_released(number)

        self._views[number] = weakref.ref(whole, ended)
        return whole

    def drop(self, number: int) -> None:
        """The writer has let go of that segment."""
        self._maps.pop(number, None)

    def close(self) -> None:
        """Forget all; memory that arrays still look at goes with them."""
        self._views.clear()
        self._maps.clear()
