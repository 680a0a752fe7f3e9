"""WebSockets of an application: what they carry, and the codes that they end with."""

from __future__ import annotations

import contextlib
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, WebSocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import pillion
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def _sockets(idle: float) -> Iterator[tuple[str, dict[str, int]]]:
    """The URL of a server of WebSockets, and the codes that they ended with, each by its path."""
    app, codes = FastAPI(), dict[str, int]()

    @app.websocket("/{how}")
    async def talk(socket: WebSocket, how: str) -> None:
        await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
        if how == "fails":
            raise ValueError("no")
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                codes[how] = message["code"]
                return
            await socket.send_bytes(message["bytes"])

    settings: dict[str, Any] = {"http.websocket_idle_seconds": idle, "limits.max_body_bytes": 1000}
    settings |= {"http.request_timeout_seconds": 0.2, "http.stream_idle_seconds": 0.2}  # which WebSockets have not
    with pillion.serve(app, blocking=False, route_prefix="/ws", settings=settings) as serving:
        yield serving.url.replace("http", "ws", 1) + "/ws", codes


@pytest.fixture(scope="module")
def sockets() -> Iterator[tuple[str, dict[str, int]]]:
    with _sockets(idle=600.0) as found:
        yield found


def test_a_websocket_carries_bytes_pings_and_a_subprotocol(sockets: tuple[str, dict[str, int]]) -> None:
    url, _ = sockets
    with connect(f"{url}/talk", subprotocols=["chat"]) as socket:  # type: ignore[list-item] # a NewType of str
        assert "chat" == socket.subprotocol
        socket.send(b"\x00\x01")
        assert b"\x00\x01" == socket.recv(timeout=60)
        assert socket.ping().wait(60)


def _ends(url: str, how: str, code: int) -> None:
    """Wait until the server closes the WebSocket, with that code."""
    with connect(f"{url}/{how}", max_size=None) as socket:
        if how == "large":
            socket.send(b"x" * 2000)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=60)
        assert socket.protocol.close_rcvd is not None
        assert code == socket.protocol.close_rcvd.code


@pytest.mark.parametrize(("how", "code"), [("large", 1009), ("fails", 1011)])
def test_a_websocket_ends_with_the_code_that_says_why(sockets: tuple[str, dict[str, int]], how: str, code: int) -> None:
    url, codes = sockets
    _ends(url, how, code)
    if how != "fails":
        until_now(lambda: codes.get(how) == code)


def test_a_websocket_whose_client_is_silent_ends_with_1001() -> None:
    with _sockets(idle=1.0) as (url, codes):
        _ends(url, "idle", 1001)
        until_now(lambda: codes == {"idle": 1001})


def test_a_websocket_whose_client_is_gone_without_a_word_ends_with_1006(sockets: tuple[str, dict[str, int]]) -> None:
    url, codes = sockets
    with connect(f"{url}/gone") as socket:
        socket.send(b"x")
        assert b"x" == socket.recv(timeout=60)
        socket.socket.shutdown(SHUT_RDWR)
        until_now(lambda: codes.get("gone") == 1006)
