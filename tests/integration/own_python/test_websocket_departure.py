"""Clients of tasks over WebSocket that leave, fall silent or read nothing, on a real server."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import socket
import struct
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program

SERVICE = """
import asyncio
from collections.abc import AsyncIterator

from pillion import Model, task


class Talk(Model):
    @task
    async def flood(self, size: int) -> AsyncIterator[str]:
        while True:
            yield "x" * size
            await asyncio.sleep(0)

    @task
    async def ponder(self, words: AsyncIterator[str]) -> str:
        async for word in words:
            await asyncio.Event().wait()

    @task
    async def echo(self, words: AsyncIterator[str]) -> AsyncIterator[str]:
        async for word in words:
            if word == "slow":
                await asyncio.sleep(3)
            if word == "silent":
                await asyncio.sleep(1.5)
                continue
            yield word
"""
IDLE = 2.0
NOTICED = 25.0
"""Seconds in which a client's leaving is noticed: after 30 any connection is cut whose client takes nothing."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("talk")
    (folder / "service.py").write_text(SERVICE)
    with serving(folder, "service.py:Talk", PILLION_HTTP__WEBSOCKET_IDLE_SECONDS=str(IDLE)) as program:
        yield program


class Raw:
    """A client that speaks by the byte, and reads nothing but the server's greeting."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert self.socket.recv(64).startswith(b"HTTP/1.1 101")

    def send(self, opcode: int, content: bytes) -> None:
        """A frame whose mask is zeros."""
        self.socket.sendall(bytes((0x80 | opcode, 0x80 | len(content))) + bytes(4) + content)


def in_flight(program: Program) -> float:
    return program.gauge("pillion_in_flight")


@pytest.mark.parametrize("how", ["close frame", "end of file"])
@pytest.mark.parametrize(
    ("path", "first", "more"),
    [
        ("/flood", {"size": 100_000}, 0),  # its connection is full of what it does not read
        ("/ponder", {"words": "a"}, 60),  # it has sent more than the method takes
    ],
)
def test_a_client_that_leaves_is_noticed_though_its_connection_is_full_or_unread(
    program: Program, how: str, path: str, first: dict[str, object], more: int
) -> None:
    client = Raw(program.ports["http"], path)
    client.send(1, json.dumps(first).encode())
    until_now(lambda: in_flight(program) == 1)
    for _ in range(more):
        client.send(1, b'{"words": "b"}')
    if not more:
        until_now(lambda: _unread(client) > 0)
        before = -1
        while before != (before := _unread(client)):  # until no more comes: then the server's side is full, too
            time.sleep(0.2)
    if how == "close frame":
        client.send(8, struct.pack(">H", 1000))
    else:
        client.socket.shutdown(socket.SHUT_WR)

    until_now(lambda: in_flight(program) == 0, NOTICED)
    client.socket.close()


def _unread(client: Raw) -> int:
    """Bytes that wait at the client."""
    waiting = bytearray(4)
    fcntl.ioctl(client.socket, termios.FIONREAD, waiting)
    return int(struct.unpack("i", waiting)[0])


async def test_a_task_that_waits_for_a_silent_client_ends_and_says_the_setting(program: Program) -> None:
    url = f"ws://127.0.0.1:{program.ports['http']}/echo"
    async with connect(url, proxy=None) as talk:
        await talk.send('{"words": "slow"}')  # that the task takes its time is not the client's silence
        assert "slow" == json.loads(await talk.recv())
        told = json.loads(await asyncio.wait_for(talk.recv(), 60))
        assert 408 == told["code"]
        assert "http.websocket_idle_seconds" in told["details"]
        with pytest.raises(ConnectionClosed):
            await talk.recv()
        assert 4408 == talk.close_code


async def test_only_the_time_that_a_task_waits_for_its_client_counts(program: Program) -> None:
    url = f"ws://127.0.0.1:{program.ports['http']}/echo"
    async with connect(url, proxy=None) as talk:
        await talk.send('{"words": "silent"}')
        await asyncio.sleep(1.5 + IDLE / 3)  # more than the limit, most of it the task's own
        await talk.send('{"words": "b"}')
        assert "b" == json.loads(await talk.recv())


def test_a_client_that_sends_pings_and_reads_nothing_has_no_answers_kept(program: Program) -> None:
    client = Raw(program.ports["http"], "/flood")
    client.send(1, json.dumps({"size": 100_000}).encode())
    until_now(lambda: in_flight(program) == 1)
    until_now(lambda: _unread(client) > 0)
    before = -1
    while before != (before := _unread(client)):
        time.sleep(0.2)
    resident = _resident(program)
    pings = (bytes((0x89, 0x80 | 125)) + bytes(4 + 125)) * 8000  # a MB
    for _ in range(64):
        client.socket.sendall(pings)
    assert _resident(program) - resident < 32 << 20
    client.socket.close()
    until_now(lambda: in_flight(program) == 0)


def _resident(program: Program) -> int:
    """Bytes of memory that the server has."""
    return int(Path(f"/proc/{program.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
