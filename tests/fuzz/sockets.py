"""The wire of sockets between programs, as a function of bytes."""

from __future__ import annotations

from typing import Final

from pillion.socket.errors import ProtocolError
from pillion.socket.frames import GREETING_BYTES, Assembler, Message, read_greeting
from pillion.socket.values import unpack

__all__ = ["socket_bodies", "socket_frames"]

_LIMIT: Final = 1_000_000


def socket_frames(data: bytes) -> None:
    """A greeting and frames; what comes whole has to be the same when it comes byte by byte."""
    try:
        read_greeting(data[:GREETING_BYTES].ljust(GREETING_BYTES, b"\0"))
    except ProtocolError as error:
        _shown(error)
    whole, pieces = _fed([data[GREETING_BYTES:]]), _fed([bytes([one]) for one in data[GREETING_BYTES:]])
    if whole != pieces and None not in (whole, pieces):
        raise AssertionError("messages depend on how they are cut")
    for message in whole or ():
        if len(message.body) > _LIMIT:
            raise AssertionError(f"a body of {len(message.body)} bytes, more than the limit")


def _fed(pieces: list[bytes]) -> list[Message] | None:
    assembler, found = Assembler(_LIMIT, 8), []
    try:
        for piece in pieces:
            found += assembler.feed(piece)
    except ProtocolError as error:
        _shown(error)
        return None
    return found


def socket_bodies(data: bytes) -> None:
    """The values of a message."""
    try:
        unpack(data)
    except ProtocolError as error:
        _shown(error)


def _shown(error: ProtocolError) -> None:
    if not str(error).isprintable():
        raise AssertionError(f"not one printable line: {str(error)!r}") from error
