"""Which heads are sent without a cycle of uvicorn's, and how they stand on the wire."""

from __future__ import annotations

import pytest

from pillion.transport.http.stated import stated

LENGTH = (b"content-length", b"2")


def head(*headers: tuple[bytes, bytes]) -> tuple[bytes, int] | None:
    return stated({"type": "http.response.start", "status": 200, "headers": headers})


def test_a_stated_length_is_read_and_names_are_written_in_lower_case() -> None:
    assert (b"content-length: 2\r\nx-own: a\tb\r\n", 2) == head((b"Content-Length", b"2"), (b"X-Own", b"a\tb"))


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"text/plain")],
        [LENGTH, LENGTH],
        [(b"content-length", b"-1")],
        [LENGTH, (b"Connection", b"close")],
        [LENGTH, (b"transfer-encoding", b"chunked")],
        [LENGTH, (b"bad name", b"x")],
        [LENGTH, (b"x\r\nset-cookie", b"x")],
        [LENGTH, (b"x-own", b"x\r\nset-cookie: stolen")],
        [LENGTH, (b"x-own", b"x\ny")],
        [LENGTH, (b"x-own", b"x\x00")],
    ],
)
def test_what_a_server_has_to_act_on_or_to_refuse_is_left_to_the_cycle(headers: list[tuple[bytes, bytes]]) -> None:
    assert head(*headers) is None


def test_without_headers_at_all_the_length_is_not_stated() -> None:
    assert stated({"type": "http.response.start", "status": 204}) is None
