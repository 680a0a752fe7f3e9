"""Requests of ASGI applications that come whole: the edges where uvicorn's cycle takes over, as it would have."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import pillion
from tests.asking import asking
from tests.waiting import WITHIN, until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

GO = threading.Event()
SEEN: list[Any] = []


def head(length: int, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    stated = (b"content-length", b"%d" % length)
    return {"type": "http.response.start", "status": 200, "headers": [stated, *headers]}


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def until_go() -> None:
    while not GO.is_set():  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0.005)


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """What the path asks for."""
    if scope["type"] != "http":
        raise RuntimeError("only HTTP")
    asked = await receive()
    how = scope["path"].rpartition("/")[2]
    if how == "leaves":
        SEEN.append("asked")
        try:
            SEEN.append((await receive())["type"])  # there is nothing more to come
        except asyncio.CancelledError:
            SEEN.append("cancelled")
            raise
        return
    if how == "pieces":
        await send(head(4))
        await send(piece(b"ab", more=True))
        await until_go()
        await send(piece(b"cd"))
        return
    if how == "late":
        await send(head(2))
        await until_go()
        await send(piece(b"ab"))
        return
    if how == "fails":
        await send(head(2))
        raise RuntimeError("behind its head")
    if how == "long":
        await send(head(1))
        await send(piece(b"ab"))
        return
    if how == "splits":
        await send(head(2, (b"x-own", b"a\r\nx-stolen: b")))
        await send(piece(b"ab"))
        return
    if how == "twice":
        await send(head(2))
        await send(head(2))
        return
    if how == "empty":
        await send({"type": "http.response.start", "status": 204})
        await send(piece(b""))
        return
    body = asked["body"] + b"|%d" % asked["more_body"]
    await send(head(len(body)))
    await send(piece(body))
    if how == "after":
        SEEN.append((await receive())["type"])
        await send(piece(b"again"))


@pytest.fixture(scope="module")
def serving() -> Iterator[pillion.Serving]:
    with pillion.serve(plain, blocking=False, route_prefix="/shop") as running:
        yield running


def request(path: str, body: bytes = b"", version: str = "1.1") -> bytes:
    return f"POST {path} HTTP/{version}\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def received(serving: pillion.Serving, sent: bytes, until: bytes) -> bytes:
    """What comes back on one connection until that has come, or its end."""
    host, _, port = serving.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), WITHIN) as connection:
        connection.sendall(sent)
        got = b""
        while until not in got:
            part = connection.recv(65536)
            if not part:
                break
            got += part
    return got


def test_the_body_is_given_once_and_whole(serving: pillion.Serving) -> None:
    with httpx.Client(base_url=serving.url) as client:
        for body in (b"", b"one", b"x" * 100_000):  # the last is too long to come whole
            answer = client.post("/shop/echo", content=body)
            assert (200, 32) == (answer.status_code, len(answer.headers["x-request-id"]))
            assert answer.content.startswith(body[:1000])


def test_who_waits_for_more_than_the_body_is_cancelled_when_the_client_leaves(serving: pillion.Serving) -> None:
    SEEN.clear()
    with asking(f"{serving.url}/shop/leaves", "x"):
        until_now(lambda: SEEN == ["asked"])
    until_now(lambda: SEEN == ["asked", "cancelled"])


def test_the_first_piece_is_there_before_the_second_and_a_pipelined_request_waits(serving: pillion.Serving) -> None:
    GO.clear()
    host, _, port = serving.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), WITHIN) as connection:
        connection.sendall(request("/shop/pieces"))
        got = b""
        while b"ab" not in got:
            got += connection.recv(65536)
        connection.sendall(request("/shop/echo", b"next"))
        GO.set()
        while b"next|0" not in got:
            got += connection.recv(65536)
    assert re.search(rb"\r\n\r\nabcdHTTP/1.1 200 OK\r\n.*next\|0$", got, re.DOTALL)


def test_the_head_is_there_before_a_body_that_takes_long(serving: pillion.Serving) -> None:
    GO.clear()
    host, _, port = serving.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), WITHIN) as connection:
        connection.sendall(request("/shop/late"))
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(65536)
        assert got.endswith(b"\r\n\r\n")
        GO.set()
        assert b"ab" == connection.recv(65536)


def test_an_application_that_fails_behind_its_head_ends_the_connection_behind_it(serving: pillion.Serving) -> None:
    got = received(serving, request("/shop/fails"), b"never")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("how", ["long", "twice"])
def test_an_answer_that_breaks_its_word_ends_the_connection(serving: pillion.Serving, how: str) -> None:
    got = received(serving, request(f"/shop/{how}") + request("/shop/echo", b"never"), b"never|")
    assert b"never" not in got
    assert 1 == got.count(b"HTTP/1.1")


def test_a_header_that_would_split_the_answer_is_refused(serving: pillion.Serving) -> None:
    got = received(serving, request("/shop/splits"), b"}")
    assert b"x-stolen" not in got


def test_an_answer_without_a_length_has_the_form_that_uvicorn_gives_it(serving: pillion.Serving) -> None:
    answer = httpx.post(f"{serving.url}/shop/empty")
    assert (204, b"") == (answer.status_code, answer.content)


def test_behind_a_complete_answer_the_channel_says_that_nobody_listens(serving: pillion.Serving) -> None:
    SEEN.clear()
    got = received(serving, request("/shop/after", b"x") + request("/shop/echo", b"y"), b"y|0")
    until_now(lambda: SEEN == ["http.disconnect"])
    assert b"again" not in got


def test_a_client_of_http_1_0_gets_its_answer_and_the_end_of_the_connection(serving: pillion.Serving) -> None:
    assert received(serving, request("/shop/echo", b"old", "1.0"), b"never").endswith(b"old|0")
