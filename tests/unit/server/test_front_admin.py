"""The admin port of a supervisor, spoken to as sloppy and hostile clients speak."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pillion.server.front.admin import AdminPort, asked
from pillion.server.ports import bind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pillion.server.front.admin import Asked


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /status HTTP/1.1\r\n\r\n", ("GET", "/status", b"", "")),
        (b"GET /debug/requests?format=text HTTP/1.0\r\n\r\n", ("GET", "/debug/requests", b"format=text", "")),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\naccept:  text/plain \r\n\r\n", ("GET", "/metrics", b"", "text/plain")),
        (b"GET /status HTTP/2\r\n\r\n", None),
        (b"GET  /status HTTP/1.1\r\n\r\n", None),
        (b"\x16\x03\x01\r\n\r\n", None),
        (b"\r\n\r\n", None),
    ],
)
def test_a_request_is_read_from_its_head(head: bytes, expected: Asked | None) -> None:
    assert expected == asked(head)


async def echo(question: Asked) -> tuple[int, str, bytes]:
    return 200, "text/plain", question[1].encode()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listening = bind("127.0.0.1", 0, section="admin")
    admin = AdminPort(echo)
    await admin.open(listening)
    yield listening.getsockname()[1]
    admin.close()


async def exchanged(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


async def test_an_answer_has_its_length_and_ends_the_connection(port: int) -> None:
    head, _, body = (await exchanged(port, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")).partition(b"\r\n\r\n")
    assert b"HTTP/1.1 200 OK" == head.splitlines()[0]
    assert {b"content-length: 6", b"connection: close"} < set(head.splitlines())
    assert b"/livez" == body


async def test_head_is_answered_without_a_body(port: int) -> None:
    assert (await exchanged(port, b"HEAD /livez HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")


async def test_what_is_no_request_is_answered_400(port: int) -> None:
    assert (await exchanged(port, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_a_head_without_end_is_cut_and_others_are_answered(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez HTTP/1.1\r\nX: " + b"a" * 200_000)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 60)
    writer.close()
    assert b"/readyz" in await exchanged(port, b"GET /readyz HTTP/1.1\r\n\r\n")
