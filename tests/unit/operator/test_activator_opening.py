"""What of a held connection asks for a pod, and what client and server must not learn twice."""

from __future__ import annotations

import pytest

from pillion_operator.activator.http2 import PREFACE, AckFilter, Http2Error
from pillion_operator.activator.opening import Opening

_SETTINGS, _HEADERS, _DATA, _PING, _WINDOW = 4, 1, 0, 6, 8


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


ACK = frame(_SETTINGS, flags=1)


def test_the_first_byte_of_anything_but_plain_http_2_asks_for_a_pod() -> None:
    for first in (b"G", b"PO", b"PRINT", b"\x16\x03\x01", b"\0"):
        opening = Opening()
        assert b"" == opening.feed(first)
        assert opening.wakes, first
        assert first == opening.release()[0]


def test_a_preface_that_comes_byte_by_byte_asks_for_nothing_and_is_answered_with_settings() -> None:
    opening = Opening()
    answers = [opening.feed(bytes((byte,))) for byte in PREFACE]

    assert [b""] * (len(PREFACE) - 1) == answers[:-1]
    assert frame(_SETTINGS) == answers[-1]
    assert not opening.wakes


def test_settings_pings_and_windows_of_plain_http_2_ask_for_nothing_and_a_request_does() -> None:
    opening = Opening()
    opening.feed(PREFACE)

    assert ACK == opening.feed(frame(_SETTINGS, b"\0\3\0\0\0\x64"))
    assert b"" == opening.feed(ACK + frame(_WINDOW, b"\0\1\0\0"))
    assert frame(_PING, b"12345678", flags=1) == opening.feed(frame(_PING, b"12345678"))
    assert not opening.wakes

    opening.feed(frame(_HEADERS, b"\x82", flags=4, stream=1))
    assert opening.wakes


def test_a_server_hears_all_but_what_was_answered_for_it() -> None:
    opening = Opening()
    request = frame(_HEADERS, b"\x82", flags=4, stream=1)
    started = frame(_DATA, b"hello", stream=1)[:-2]
    opening.feed(PREFACE + frame(_SETTINGS) + frame(_PING, b"12345678") + ACK + request + started)

    heard, upward, downward = opening.release()

    assert PREFACE + frame(_SETTINGS) + request + started == heard
    # The acknowledgement of our settings has come already: one that comes now is for the server's.
    assert b"lo" + ACK == upward.feed(b"lo" + ACK)
    # The client's settings are acknowledged already.
    assert frame(_SETTINGS) + request == downward.feed(frame(_SETTINGS) + ACK + request)
    assert ACK == downward.feed(ACK)


@pytest.mark.parametrize("step", [1, 2, 7, 100_000])
def test_the_acknowledgement_of_our_settings_is_found_wherever_the_network_cuts(step: int) -> None:
    before, after = frame(_DATA, ACK * 3, stream=1), frame(_DATA, b"x" * 300, stream=1)
    sent = before + ACK + after + ACK
    acks = AckFilter(1)

    passed = b"".join(acks.feed(sent[at : at + step]) for at in range(0, len(sent), step))

    # What looks like one inside of a frame is not one.
    assert before + after + ACK == passed


def test_a_frame_larger_than_frames_may_be_is_refused() -> None:
    opening = Opening()
    opening.feed(PREFACE)
    with pytest.raises(Http2Error):
        opening.feed((20_000).to_bytes(3) + bytes(6))


@pytest.mark.parametrize(
    ("first", "is_http_1"),
    [(b"GET / HTTP/1.1\r\n", True), (b"\x16\x03\x01\x02", False), (PREFACE, False), (b"get /", False)],
)
def test_only_plain_http_1_is_answered_in_its_own_words(first: bytes, is_http_1: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    opening = Opening()
    opening.feed(first)
    assert is_http_1 == opening.is_http_1
