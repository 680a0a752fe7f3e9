"""What the HTTP engine refuses, byte by byte over real sockets: the right code, an answer, and a closed connection."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pillion.server.listener import HttpListener
from pillion.server.ports import bind
from pillion.transport.http.limits import HttpLimits
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n"
BODY_LIMIT = 100_000


async def echo_size(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the number of bytes received."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def listening(**limits: Any) -> AsyncIterator[tuple[HttpListener, list[str]]]:
    refused: list[str] = []
    defaults = {"max_body_bytes": BODY_LIMIT, "min_body_rate": 10_000_000}
    listener = HttpListener(echo_size, HttpLimits(**(defaults | limits)), refused.append)
    await listener.open(bind("127.0.0.1", 0, section="http"), None)
    try:
        yield listener, refused
    finally:
        await listener.close(deadline=asyncio.get_running_loop().time() + 5, cut=asyncio.Event())


async def exchange(port: int, *pieces: bytes, seconds: float = 60.0) -> bytes:
    """Send the pieces and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(seconds):
            return await reader.read()
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error_of(answer: bytes) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return error


CHUNKED = POST + HOST + b"Transfer-Encoding: chunked\r\n"
REFUSED = {
    "no host": (GET + b"\r\n", 400),
    "two hosts": (GET + HOST + HOST + b"\r\n", 400),
    "length and chunked": (POST + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and length": (CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "two equal lengths": (POST + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "two lengths in one field": (POST + HOST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "signed length": (POST + HOST + b"Content-Length: +3\r\n\r\nabc", 400),
    "negative length": (POST + HOST + b"Content-Length: -3\r\n\r\nabc", 400),
    "bad chunk size": (CHUNKED + b"\r\nxyz\r\n", 400),
    "chunk longer than said": (CHUNKED + b"\r\n2\r\nabcd\r\n0\r\n\r\n", 400),
    "chunked is not last": (POST + HOST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    "unknown coding": (POST + HOST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
    "identity coding": (POST + HOST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "coding twice": (CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "space before the colon": (POST + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "coding in HTTP/1.0": (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "folded header": (GET + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "zero byte in a value": (GET + HOST + b"X: a\0b\r\n\r\n", 400),
    "control byte in the path": (b"GET /a\x01b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "not HTTP": (b"hello\r\n\r\n", 400),
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "too many headers": (GET + HOST + b"A: b\r\n" * 101 + b"\r\n", 431),
    "a long header": (GET + HOST + b"A: " + b"b" * 40_000 + b"\r\n\r\n", 431),
    "an endless header": (GET + HOST + b"A: " + b"b" * 1_000_000, 431),
    "a long target": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "an endless target": (b"GET /" + b"a" * 1_000_000, 414),
    "a long body by its length": (POST + HOST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000, 413),
    "a long chunked body": (CHUNKED + b"\r\n" + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 8, 413),
    "slow headers": (GET + HOST + b"A: ", 408),
    "a slow body": (POST + HOST + b"Content-Length: 100\r\n\r\nabc", 408),
}


SOON = {"header_timeout": 0.3, "body_timeout": 0.3}
"""For those that are slow; the others would be so on a busy machine."""


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_malformed_or_over_a_limit_is_answered_and_the_connection_closed(name: str) -> None:
    request, status = REFUSED[name]
    async with listening(**(SOON if status == 408 else {})) as (listener, refused):
        answer = await exchange(listener.port, request)
        assert status == status_of(answer)
        assert b"connection: close" in answer
        assert {"error", "code", "id"} == set(error_of(answer))
        assert 1 == len(refused)


async def test_each_limit_names_its_setting() -> None:
    for name, setting in (
        ("too many headers", "limits.max_header_count"),
        ("a long header", "limits.max_header_bytes"),
        ("a long target", "limits.max_uri_bytes"),
        ("a long body by its length", "limits.max_body_bytes"),
        ("slow headers", "limits.header_timeout_seconds"),
        ("a slow body", "limits.body_timeout_seconds"),
    ):
        async with listening(**(SOON if "slow" in name else {})) as (listener, _):
            answer = await exchange(listener.port, REFUSED[name][0])
            assert setting in error_of(answer)["error"]


async def test_headers_that_trickle_in_are_cut_at_the_time_limit_however_often_bytes_come() -> None:
    async with listening(header_timeout=0.4) as (listener, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(GET + HOST)
        answer = asyncio.create_task(reader.read())
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not answer.done() and loop.time() - began < 60:
            writer.write(b"A: b\r\n")
            await asyncio.sleep(0.02)
        assert 408 == status_of(await answer)
        writer.close()


async def test_a_body_that_keeps_its_rate_may_take_longer_than_the_time_limit() -> None:
    async with listening(body_timeout=0.2, min_body_rate=1000) as (listener, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(POST + HOST + b"Connection: close\r\nContent-Length: 5000\r\n\r\n")
        for _ in range(10):
            writer.write(b"x" * 500)
            await asyncio.sleep(0.05)
        assert (await reader.read()).endswith(b"5000")
        writer.close()


async def test_blank_lines_do_not_keep_an_idle_connection_open() -> None:
    async with listening(keep_alive=0.3) as (listener, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not reader.at_eof() and loop.time() - began < 60:
            writer.write(b"\r\n")
            try:
                await asyncio.wait_for(reader.read(1), 0.05)
            except TimeoutError:
                continue
        assert reader.at_eof()
        writer.close()


async def test_an_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    async with listening(keep_alive=0.2) as (listener, _):
        answer = await exchange(listener.port, GET + HOST + b"\r\n")
        assert answer.endswith(b"\r\n\r\n0")
        assert b"connection: close" not in answer


async def test_connections_beyond_the_limit_are_told_to_come_back() -> None:
    async with listening(max_connections=2) as (listener, refused):
        writers = [(await asyncio.open_connection("127.0.0.1", listener.port))[1] for _ in range(2)]
        await until(lambda: len(listener.state.connections) == 2)
        answer = await exchange(listener.port, b"")
        assert 429 == status_of(answer)
        assert b"retry-after: 1" in answer
        assert ["connections"] == refused
        for writer in writers:
            writer.close()


async def test_a_bad_request_after_a_good_one_does_not_spoil_the_first_answer() -> None:
    async with listening() as (listener, refused):
        answer = await exchange(listener.port, GET + HOST + b"\r\nGARBAGE\r\n\r\n")
        assert 200 == status_of(answer)
        assert 1 == answer.count(b"HTTP/1.1")
        assert ["malformed"] == refused


async def test_pipelined_requests_are_answered_in_order() -> None:
    first = POST + HOST + b"Content-Length: 3\r\n\r\nabc"
    last = POST + HOST + b"Connection: close\r\nContent-Length: 4\r\n\r\nabcd"
    async with listening() as (listener, _):
        answer = await exchange(listener.port, first + last)
        bodies = [part.split(b"HTTP/1.1")[0] for part in answer.split(b"\r\n\r\n")[1:]]
        assert [b"3", b"4"] == bodies


async def test_an_upgrade_that_is_not_offered_is_served_as_plain_http() -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
    async with listening(keep_alive=0.2) as (listener, refused):
        assert 200 == status_of(await exchange(listener.port, GET + HOST + upgrade))
        assert [] == refused


async def test_nothing_is_left_of_refused_connections() -> None:
    async with listening(linger=0.1, **SOON) as (listener, _):
        for request, _ in REFUSED.values():
            await exchange(listener.port, request)
        await until(lambda: not listener.state.connections and not listener.state.tasks)
        assert set() == listener.state.connections
