"""Requests of handlers that are answered without a cycle of ASGI: the edges where they become ordinary ones."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.responses import PlainTextResponse, StreamingResponse

import pillion
from tests.asking import asking
from tests.waiting import WITHIN, until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

GO, BEGUN = threading.Event(), threading.Event()
LEFT: list[str] = []


ASKING: list[asyncio.Task[None]] = []
GONE: list[bool] = []


async def asks_later(request: pillion.Request) -> None:
    """Work that goes on behind the answer, and looks at its request."""
    await asyncio.sleep(0.05)
    GONE.append(await request.is_disconnected())


async def handle(request: pillion.Request) -> Any:
    how = request.query_params.get("how", "")
    if how == "response":
        return PlainTextResponse("made", 201, {"x-own": "yes"})
    if how == "stream":
        return StreamingResponse(iter(["a", "b", "c"]), media_type="text/plain")
    if how == "fail":
        raise RuntimeError("no")
    if how == "wait":
        BEGUN.set()
        try:
            while not GO.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            LEFT.append(request.url.path)
            raise
        return "waited"
    if how == "cancelled":
        never = asyncio.get_running_loop().create_future()
        never.cancel()
        await never
    if how == "exit":
        raise SystemExit("no more")
    if how == "short":
        return PlainTextResponse("short", headers={"content-length": "100"})
    if how == "background":
        ASKING.append(asyncio.create_task(asks_later(request)))
        return "answered"
    if how == "pieces":
        return b"".join([piece async for piece in request.stream()])
    return {"method": request.method, "path": request.url.path, "body": (await request.body()).decode()}


@pytest.fixture(scope="module")
def serving() -> Iterator[pillion.Serving]:
    with pillion.serve(handle, blocking=False, route_prefix="/shop") as running:
        yield running


def exchanged(serving: pillion.Serving, *pieces: bytes, answers: int = 1) -> bytes:
    """What comes back on one connection, up to so many answers."""
    host, _, port = serving.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), WITHIN) as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while received.count(b"HTTP/1.1 ") < answers or not received.endswith((b"}", b"waited", b"made", b"0\r\n\r\n")):
            got = connection.recv(65536)
            if not got:
                break
            received += got
    return received


def stops(serving: pillion.Serving) -> bool:
    """Whether it takes no more work."""
    try:
        return 503 == httpx.get(f"{serving.url}/health/ready", timeout=60).status_code
    except httpx.TransportError:
        return True


def request(method: str, path: str, body: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_every_method_has_its_body_and_path(serving: pillion.Serving, method: str) -> None:
    with httpx.Client(base_url=serving.url) as client:
        for _ in range(3):  # on one connection
            answer = client.request(method, "/shop/x?how=", content=b"told")
            assert {"method": method, "path": "/shop/x", "body": "told"} == answer.json()
            assert 32 == len(answer.headers["x-request-id"])


def test_answers_of_other_kinds_go_out_as_they_are(serving: pillion.Serving) -> None:
    GO.clear()
    with httpx.Client(base_url=serving.url) as client:
        made = client.get("/shop?how=response")
        assert (201, "made", "yes") == (made.status_code, made.text, made.headers["x-own"])
        assert "abc" == client.get("/shop?how=stream").text
        assert (500, "internal") == ((failed := client.get("/shop?how=fail")).status_code, failed.json()["code"])
        assert b"in pieces" == client.post("/shop?how=pieces", content=b"in pieces").content
        assert (200, "") == ((head := client.head("/shop")).status_code, head.text)
        late = client.get("/shop?how=wait", headers={"x-request-timeout-seconds": "0.05"})
        assert (504, "deadline_exceeded") == (late.status_code, late.json()["code"])
        assert 200 == client.get("/shop").status_code  # and the connection can be used again


def test_a_body_that_comes_in_two_pieces_is_waited_for(serving: pillion.Serving) -> None:
    whole = request("POST", "/shop", b"twice as long")
    received = exchanged(serving, whole[:-6], whole[-6:])
    assert b'"body":"twice as long"' in received


def test_requests_that_follow_on_one_connection_are_answered_in_their_order(serving: pillion.Serving) -> None:
    GO.clear()
    threading.Timer(0.1, GO.set).start()
    first, second = request("GET", "/shop/1?how=wait"), request("POST", "/shop/2", b"x")
    received = exchanged(serving, first + second + request("GET", "/shop/3"), answers=3)
    assert received.index(b"waited") < received.index(b"/shop/2") < received.index(b"/shop/3")
    assert 3 == received.count(b"HTTP/1.1 200 OK")


def test_who_leaves_cancels_the_handler(serving: pillion.Serving) -> None:
    GO.clear()
    LEFT.clear()
    BEGUN.clear()
    with asking(f"{serving.url}/shop/leaves?how=wait"):
        until_now(BEGUN.is_set)
    until_now(lambda: "/shop/leaves" in LEFT)


def test_a_stop_waits_for_the_answer_and_closes_the_connection_after_it() -> None:
    GO.clear()
    running = pillion.serve(handle, blocking=False, route_prefix="/shop")
    received: list[bytes] = []
    asking = threading.Thread(target=lambda: received.append(exchanged(running, request("GET", "/shop?how=wait"))))
    BEGUN.clear()
    asking.start()
    assert BEGUN.wait(60)
    stopping = threading.Thread(target=running.stop)
    stopping.start()
    until_now(lambda: stops(running))
    GO.set()
    asking.join()
    stopping.join()
    assert received[0].startswith(b"HTTP/1.1 200 OK")
    assert b"waited" in received[0]
    assert b"connection: close" in received[0]


def test_a_whole_answer_is_compressed_for_who_asks_and_not_for_others(serving: pillion.Serving) -> None:
    body = b"x" * 20_000
    asked = httpx.post(f"{serving.url}/shop", content=body, headers={"accept-encoding": "gzip"})
    assert "gzip" == asked.headers["content-encoding"]
    plain = httpx.post(f"{serving.url}/shop", content=body, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert asked.json() == plain.json()


@pytest.mark.parametrize("how", ["cancelled", "exit"])
def test_code_that_ends_itself_costs_its_own_request_only(serving: pillion.Serving, how: str) -> None:
    with httpx.Client(base_url=serving.url, timeout=60) as client:
        failed = client.get(f"/shop?how={how}")
        assert (500, "internal") == (failed.status_code, failed.json()["code"])
        assert 200 == client.get("/shop").status_code


def test_an_answer_that_is_shorter_than_it_says_ends_the_connection(serving: pillion.Serving) -> None:
    received = exchanged(serving, request("GET", "/shop?how=short"))
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"content-length: 100" in received


def test_work_behind_an_answer_may_look_at_its_request_and_holds_nobody_up(serving: pillion.Serving) -> None:
    GONE.clear()
    with httpx.Client(base_url=serving.url, timeout=60) as client:
        assert "answered" == client.get("/shop?how=background").text
        until_now(lambda: [True] == GONE)
        assert 200 == client.get("/shop").status_code  # on the same connection


@pytest.mark.parametrize("target", ["http://other.example/shop/x", "/shop/x#part"])
def test_a_target_that_is_no_plain_path_is_read_as_on_the_ordinary_way(target: str) -> None:
    with pillion.serve(handle, blocking=False) as running:
        received = exchanged(running, request("GET", target))
    assert b'"path":"/shop/x"' in received
