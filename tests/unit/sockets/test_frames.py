"""Greetings and frames, byte by byte."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest

from pillion.socket.errors import ProtocolError
from pillion.socket.frames import GREETING_BYTES, PIECE, Assembler, Kind, Message, frames, greeting, read_greeting

LIMIT = 8 * PIECE


def wire(kind: Kind, number: int, body: bytes, flags: int = 0) -> list[bytes]:
    """The frames of a message, each as it is written."""
    return [b"".join(map(bytes, frame)) for frame in frames(kind, number, [body], flags=flags)]


def test_a_greeting_tells_the_largest_body() -> None:
    assert 12345 == read_greeting(greeting(12345))
    assert GREETING_BYTES == len(greeting(0))


def test_another_version_is_told_with_both_numbers() -> None:
    other = greeting(1).replace(b"\x01\x00", b"\x07\x00", 1)
    with pytest.raises(ProtocolError, match="version 7 of the protocol and this one version 1"):
        read_greeting(other)


def test_what_speaks_something_else_is_told_by_how_it_begins() -> None:
    with pytest.raises(ProtocolError, match="it began with b'GET / HT'"):
        read_greeting(b"GET / HTTP/1.1\r\nHost: localhost\r\n")


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
def test_a_message_comes_out_as_it_went_in_however_it_is_cut(size: int) -> None:
    body = random.Random(size).randbytes(size)
    sent = b"".join(wire(Kind.REQUEST, 9, body, flags=4))
    chance = random.Random(1)
    assembler, found = Assembler(LIMIT, 8), []
    while sent:
        cut = chance.choice((1, 15, 16, 17, 60_000, 200_000))
        found += assembler.feed(sent[:cut])
        sent = sent[cut:]
    assert [Message(Kind.REQUEST, 4, 9, body)] == found
    assert not assembler.within


def test_a_small_message_passes_between_the_pieces_of_a_large_one() -> None:
    large = wire(Kind.RESPONSE, 1, bytes(3 * PIECE))
    small = wire(Kind.RESPONSE, 2, b"small")
    assembler = Assembler(LIMIT, 8)
    found = assembler.feed(large[0] + small[0])
    assert [2] == [message.id for message in found]
    assert [1] == [message.id for message in assembler.feed(b"".join(large[1:]))]


def test_a_body_that_is_too_large_is_told_by_its_size_and_not_kept() -> None:
    (message,) = Assembler(PIECE, 8).feed(b"".join(wire(Kind.REQUEST, 5, bytes(2 * PIECE))))
    assert (b"", 2 * PIECE) == (message.body, message.refused)
    (message,) = Assembler(10, 8).feed(b"".join(wire(Kind.REQUEST, 5, bytes(11))))
    assert (b"", 11) == (message.body, message.refused)


def test_a_cancelled_message_may_end_in_its_middle_and_its_number_be_used_again() -> None:
    assembler = Assembler(LIMIT, 8)
    assembler.feed(wire(Kind.REQUEST, 3, bytes(2 * PIECE))[0])
    assert [Kind.CANCEL] == [message.kind for message in assembler.feed(wire(Kind.CANCEL, 3, b"")[0])]
    assert not assembler.within
    assert 1 == len(assembler.feed(b"".join(wire(Kind.REQUEST, 3, bytes(2 * PIECE)))))


def piece(content: bytes, *, more: bool) -> bytes:
    """A further piece of request 3, of any size."""
    return struct.pack("<BBHIQ", Kind.REQUEST, 2 | more, 0, len(content), 3) + content


def test_pieces_of_any_size_make_a_message_and_many_small_ones_take_little_memory() -> None:
    body = random.Random(5).randbytes(PIECE + 100_000)
    assembler = Assembler(LIMIT, 8)
    assembler.feed(wire(Kind.REQUEST, 3, body)[0])
    small = [piece(body[at : at + 1], more=at + 1 < len(body)) for at in range(PIECE, len(body))]
    tracemalloc.start()
    for one in small[:-1]:
        assembler.feed(one)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (message,) = assembler.feed(small[-1])
    assert body == message.body
    assert taken < 2 * len(small)


_LARGE = wire(Kind.REQUEST, 3, bytes(2 * PIECE + 5))


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no frame"),
        (b"\x00" * 16, "no frame"),
        (b"\x63" + b"\x00" * 15, "no frame"),
        (bytes([1, 0, 0, 0]) + b"\xff\xff\xff\x7f" + bytes(8), "no frame"),
        (_LARGE[1], "without its beginning"),
        (_LARGE[0] + _LARGE[0], "cannot be one"),
        (_LARGE[0] + _LARGE[2], "not as long as its beginning says"),
        (_LARGE[0] + piece(b"", more=True), "is empty"),
        (_LARGE[0] + wire(Kind.REQUEST, 3, b"x")[0], "a second time"),
        (_LARGE[0] + wire(Kind.RESPONSE, 3, bytes(2 * PIECE))[1], "without its beginning"),
        (b"".join(wire(Kind.REQUEST, n, bytes(PIECE + 1))[0] for n in range(9)), "more than 8 messages"),
        (b"".join(wire(Kind.REQUEST, n, bytes(LIMIT))[0] for n in range(3)), f"more than {2 * LIMIT} bytes"),
    ],
)
def test_what_cannot_be_is_refused(sent: bytes, told: str) -> None:
    with pytest.raises(ProtocolError, match=told):
        Assembler(LIMIT, 8).feed(sent)


def test_garbage_is_refused_or_waited_for_and_never_anything_else() -> None:
    chance = random.Random(7)
    for _ in range(3000):
        assembler = Assembler(1000, 4)
        try:
            for _ in range(3):
                assembler.feed(chance.randbytes(chance.randrange(40)))
        except ProtocolError:
            continue
