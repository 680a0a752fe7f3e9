"""The wire: a greeting from each side, then frames. Pure: bytes in, messages out.

A greeting is ``PILLSOCK``, the version (``u16``), zeros (``u16``, ``u32``) and the largest body that its sender takes
(``u64``), little-endian like all that follows. A frame is kind (``u8``), flags (``u8``), zeros (``u16``), length of its
payload (``u32``), number of the request (``u64``), and the payload. A body of more than :data:`PIECE` goes in pieces,
between which frames of other requests pass: the first begins with the whole length (``u64``).
"""

from __future__ import annotations

import struct
from enum import IntEnum, unique
from typing import TYPE_CHECKING, Final, NamedTuple

from pillion.socket.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pillion.socket.values import Part

__all__ = [
    "GREETING_BYTES",
    "MOST_BEGUN",
    "NO_DATA",
    "PIECE",
    "VERSION",
    "Assembler",
    "Kind",
    "Message",
    "frames",
    "greeting",
    "read_greeting",
]

VERSION: Final = 1
PIECE: Final = 128 * 1024
"""Payload of one frame: short enough that others need not wait, long enough that its head costs nothing."""
MOST_BEGUN: Final = 16
"""Messages of several pieces that a side has under way at a time: the other keeps them until they are whole. Together
they have no more bytes than that takes of one, unless there is only one."""
NO_DATA: Final = 4
"""Flag of a request that has no data, which is another thing than None."""
_MORE: Final = 1
_NEXT: Final = 2
_MAGIC: Final = b"PILLSOCK"
_GREETING: Final = struct.Struct("<8sHHIQ")
_HEAD: Final = struct.Struct("<BBHIQ")
_TOTAL: Final = struct.Struct("<Q")
GREETING_BYTES: Final = _GREETING.size


@unique
class Kind(IntEnum):
    """What a message is."""

    REQUEST = 1
    RESPONSE = 2
    ERROR = 3
    CANCEL = 4
    """Nobody waits for that request any more; what has come of it is to be forgotten."""
    TOKEN = 5
    """Who the client is; the first frame where the server asks for it."""
    LEAVING = 6
    """The server stops: no further requests on this connection."""
    POST = 7
    """A request that wants no answer."""


class Message(NamedTuple):
    """One that has come whole."""

    kind: Kind
    flags: int
    id: int
    body: bytes
    refused: int = 0
    """The bytes that it would have had, where those are too many; its body is empty then."""


def greeting(max_bytes: int) -> bytes:
    """What each side says first."""
    return _GREETING.pack(_MAGIC, VERSION, 0, 0, max_bytes)


def read_greeting(data: bytes | bytearray | memoryview) -> int:
    """The largest body that the other side takes.

    Raises:
        ProtocolError: it is no greeting, or of another version.
    """
    magic, version, *_, max_bytes = _GREETING.unpack_from(data)
    if magic != _MAGIC:
        raise ProtocolError(f"the other side does not speak this protocol: it began with {bytes(magic)!r}")
    if version != VERSION:
        raise ProtocolError(
            f"the other side speaks version {version} of the protocol and this one version {VERSION}: use the same "
            "release of Pillion on both"
        )
    return int(max_bytes)


def frames(kind: Kind, number: int, parts: Sequence[Part], *, flags: int = 0) -> Iterator[list[Part]]:
    """A message as frames, each in the parts that it is to be written in."""
    total = sum(map(len, parts))
    if total <= PIECE:
        yield [_HEAD.pack(kind, flags, 0, total, number), *parts]
        return
    left = total
    first = True
    for piece in _pieces(parts):
        size = sum(map(len, piece))
        left -= size
        bits = flags | (_MORE if left else 0) | (0 if first else _NEXT)
        start = _TOTAL.pack(total) if first else b""
        yield [_HEAD.pack(kind, bits, 0, size + len(start), number) + start, *piece]
        first = False


def _pieces(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """The same bytes in runs of :data:`PIECE`."""
    run: list[Part] = []
    room = PIECE
    for part in parts:
        view = memoryview(part)
        while view:
            run.append(view[:room])
            view = view[room:]
            room -= len(run[-1])
            if not room:
                yield run
                run, room = [], PIECE
    if run:
        yield run


class _Partial:
    """A message of which pieces have come."""

    __slots__ = ("flags", "kept", "kind", "left", "pieces", "refused")

    def __init__(self, kind: Kind, flags: int, total: int, *, refused: bool) -> None:
        self.kind = kind
        self.flags = flags
        self.left = total
        self.pieces: list[bytes | bytearray] = []
        self.refused = total if refused else 0
        self.kept = 0 if refused else total

    def keep(self, payload: bytes) -> None:
        """Keep a piece. Small ones, which only others send, go together: by itself each would take some forty bytes."""
        if len(payload) == PIECE or not self.left:
            self.pieces.append(payload)
        elif self.pieces and isinstance(self.pieces[-1], bytearray):
            self.pieces[-1] += payload
        else:
            self.pieces.append(bytearray(payload))


class Assembler:
    """Makes messages of what is read.

    Args:
        max_bytes: of a body; a larger one is read and thrown away, and told by :attr:`Message.refused`.
        max_partial: messages of which only pieces have come, at a time. All of them together may have twice
            ``max_bytes``.
    """

    def __init__(self, max_bytes: int, max_partial: int) -> None:
        self._max_bytes = max_bytes
        self._max_partial = max_partial
        self._rest = bytearray()
        self._partial: dict[int, _Partial] = {}
        self._kept = 0
        """Bytes that these have or will have."""

    @property
    def within(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._rest or self._partial)

    @property
    def amid(self) -> bool:
        """Whether pieces of a message are kept until the others come."""
        return bool(self._partial)

    def feed(self, data: bytes) -> list[Message]:
        """What has become whole.

        Raises:
            ProtocolError: these are no frames.
        """
        source: bytes | bytearray = data
        if self._rest:
            self._rest += data
            source = self._rest
        found: list[Message] = []
        at, end = 0, len(source)
        while end - at >= _HEAD.size:
            kind, flags, zeros, size, number = _HEAD.unpack_from(source, at)
            if zeros or not 1 <= kind <= len(Kind) or size > PIECE + _TOTAL.size:
                raise ProtocolError("what has come is no frame")
            after = at + _HEAD.size + size
            if after > end:
                break
            message = self._take(Kind(kind), flags, number, bytes(source[at + _HEAD.size : after]))
            if message is not None:
                found.append(message)
            at = after
        self._rest = bytearray(source[at:])
        return found

    def _take(self, kind: Kind, flags: int, number: int, payload: bytes) -> Message | None:
        if not flags & (_MORE | _NEXT):
            if kind is Kind.CANCEL:
                self._forget(number)
            if number in self._partial:
                raise ProtocolError(f"request {number} came a second time before its first had ended")
            if len(payload) > self._max_bytes:
                return Message(kind, flags, number, b"", len(payload))
            return Message(kind, flags, number, payload)
        if not flags & _NEXT:
            self._begin(kind, flags, number, payload)
            return None
        partial = self._partial.get(number)
        if partial is None or partial.kind is not kind:
            raise ProtocolError(f"a piece of request {number} came without its beginning")
        return self._add(partial, flags, number, payload)

    def _begin(self, kind: Kind, flags: int, number: int, payload: bytes) -> None:
        if number in self._partial or len(payload) <= _TOTAL.size:
            raise ProtocolError(f"the beginning of request {number} cannot be one")
        if len(self._partial) >= self._max_partial:
            raise ProtocolError(f"more than {self._max_partial} messages were begun at a time")
        (total,) = _TOTAL.unpack_from(payload)
        partial = _Partial(kind, flags & NO_DATA, total, refused=total > self._max_bytes)
        if self._kept + partial.kept > 2 * self._max_bytes:
            raise ProtocolError(f"messages of more than {2 * self._max_bytes} bytes were begun at a time")
        self._partial[number] = partial
        self._kept += partial.kept
        self._add(partial, flags, number, payload[_TOTAL.size :])

    def _forget(self, number: int) -> None:
        partial = self._partial.pop(number, None)
        if partial is not None:
            self._kept -= partial.kept

    def _add(self, partial: _Partial, flags: int, number: int, payload: bytes) -> Message | None:
        partial.left -= len(payload)
        last = not flags & _MORE
        if partial.left < 0 or last != (partial.left == 0):
            raise ProtocolError(f"the pieces of request {number} are not as long as its beginning says")
        if not payload:  # or one that says nothing for ever would fill the list
            raise ProtocolError(f"a piece of request {number} is empty")
        if not partial.refused:
            partial.keep(payload)
        if not last:
            return None
        self._forget(number)
        return Message(partial.kind, partial.flags, number, b"".join(partial.pieces), partial.refused)
