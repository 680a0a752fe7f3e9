"""Messages on a unix socket between a server and its worker: length, MessagePack, descriptors beside them.

Both ends are of one version, so the format has no version of its own.
"""

from __future__ import annotations

import array
import socket
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    import msgspec

__all__ = ["MOST_DESCRIPTORS", "Inbox", "descriptors", "frame"]

MOST_DESCRIPTORS: Final = 64
"""That go with one write."""
_HEADER: Final = 4
_BUFFER: Final = 64 * 1024
_INT: Final = array.array("i").itemsize
_ANCILLARY: Final = socket.CMSG_SPACE(MOST_DESCRIPTORS * _INT)

M = TypeVar("M")


def frame(body: bytes) -> bytes:
    """The message with its length in front.

    Raises:
        ValueError: it has more than 4 GiB.
    """
    if len(body) >> 32:
        raise ValueError("a message between server and worker has more than 4 GiB outside of tensors")
    return len(body).to_bytes(_HEADER, "little") + body


def descriptors(numbers: list[int]) -> list[tuple[int, int, bytes]]:
    """What ``sendmsg`` takes to send these descriptors along."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers).tobytes())] if numbers else []


class Inbox(Generic[M]):
    """Reads messages from a socket, as many as have come."""

    def __init__(self, connection: socket.socket, decoder: msgspec.msgpack.Decoder[M]) -> None:
        self._socket = connection
        self._decoder = decoder
        self._buffer = bytearray(_BUFFER)
        self._filled = 0
        self.descriptors: deque[int] = deque()
        """Received and not taken yet, in the order of the messages that announce them."""

    def receive(self) -> list[M]:
        """The messages that are complete after one read; that may be none.

        Raises:
            EOFError: the other side has ended.
            BlockingIOError: nothing has come, on a socket that does not block.
            OSError, msgspec.DecodeError: the connection is of no use any more.
        """
        view = memoryview(self._buffer)
        count, ancillary, flags, _ = self._socket.recvmsg_into([view[self._filled :]], _ANCILLARY)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.descriptors.extend(array.array("i", data[: len(data) - len(data) % _INT]))
        if flags & socket.MSG_CTRUNC:
            raise OSError("descriptors of shared memory were lost: too many files are open")
        if not count:
            raise EOFError
        filled = self._filled + count
        messages: list[M] = []
        start = 0
        needed = _HEADER
        while filled - start >= _HEADER:
            length = int.from_bytes(view[start : start + _HEADER], "little")
            end = start + _HEADER + length
            if end > filled:
                needed = end - start
                break
            messages.append(self._decoder.decode(view[start + _HEADER : end]))
            start = end
        self._keep(view, start, filled, needed)
        return messages

    def _keep(self, view: memoryview, start: int, filled: int, needed: int) -> None:
        """Move what is incomplete to the front, of a buffer that has room for all of it."""
        self._filled = filled - start
        size = max(_BUFFER, needed)
        if size != len(self._buffer):
            buffer = bytearray(size)
            buffer[: self._filled] = view[start:filled]
            self._buffer = buffer
        elif start and self._filled:
            self._buffer[: self._filled] = bytes(view[start:filled])
