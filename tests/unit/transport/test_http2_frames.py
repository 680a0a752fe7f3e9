"""Frames of all kinds in any order: nothing fails inside, nothing is kept, and pieces make no difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.hpack import literal
from tests.fuzz.http2 import grpc_messages, http2, talk
from tests.unit.transport.http2_client import head_of

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

GREETING: Final = wire.PREFACE + wire.settings({})
NUMBERS: Final = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 7, 9, 2**31 - 1])
MESSAGE: Final = b"\0\0\0\0\4abcd"


def heads() -> SearchStrategy[bytes]:
    """Header blocks, most of them of calls."""
    paths = st.sampled_from(["/f/e", "/f/w", "/f/s", "/f/m", "/f/none", ""])
    more = st.dictionaries(
        st.sampled_from(["grpc-timeout", "grpc-encoding", "content-length", "x-bin", "te", ":method", "Capital"]),
        st.sampled_from(["1S", "0n", "gzip", "snappy", "9", "!", "trailers", "GET"]),
        max_size=2,
    )
    return st.builds(head_of, paths) | st.builds(lambda path, fields: head_of(path, **fields), paths, more)


def contents() -> SearchStrategy[bytes]:
    """Pieces of messages."""
    return st.sampled_from([MESSAGE, MESSAGE * 3, MESSAGE[:3], MESSAGE[3:], b"", b"\1\0\0\0\0", b"\2", bytes(9000)])


def frames() -> SearchStrategy[bytes]:
    """One frame each, mostly of a sound length."""
    flags = st.sampled_from([0, 1, 4, 5, 8, 0x20, 0xFF]) | st.integers(0, 255)
    values = st.sampled_from([0, 1, 100, 2**16, 2**31])
    eight = st.binary(min_size=8, max_size=8)
    sound = st.one_of(
        st.builds(wire.frame, st.just(wire.HEADERS), st.sampled_from([4, 5]), NUMBERS, heads()),
        st.builds(wire.frame, st.just(wire.DATA), st.sampled_from([0, 1]), NUMBERS, contents()),
        st.builds(wire.reset, NUMBERS, st.integers(0, 14)),
        st.builds(wire.window_update, NUMBERS, st.integers(0, 2**31 - 1)),
        st.builds(wire.settings, st.dictionaries(st.integers(0, 7), values, max_size=3)),
        st.builds(wire.frame, st.just(wire.PING), st.sampled_from([0, 1]), st.just(0), eight),
    )
    any_payload = heads() | contents() | st.binary(max_size=16)
    return sound | st.builds(wire.frame, st.integers(0, 12), flags, NUMBERS, any_payload)


@settings(max_examples=200, deadline=None)
@given(st.lists(frames(), max_size=12), st.integers(0, 255))
def test_any_frames_are_answered_or_refused_and_leave_nothing(sent: list[bytes], size: int) -> None:
    http2(bytes((size,)) + b"".join(sent))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_put_together_as_messages_alike_in_pieces(data: bytes) -> None:
    grpc_messages(data)


@pytest.mark.parametrize(("path", "answers"), [("/f/e", 1), ("/f/m", 3), ("/f/s", 1)])
def test_the_service_that_is_fuzzed_answers(path: str, answers: int) -> None:
    call = wire.frame(wire.HEADERS, wire.END_HEADERS, 1, head_of(path)) + wire.frame(wire.DATA, 1, 1, MESSAGE)
    found = talk([GREETING + call])
    content = b"".join(payload for kind, *_, payload in found.frames if kind == wire.DATA)
    assert (MESSAGE * answers, False) == (content, found.closed)
    assert literal(b"grpc-status", b"0") == found.frames[-1][3]
