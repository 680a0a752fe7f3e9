"""Heads of answers are written together with the body that comes in the same turn of the loop, and never later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from uvicorn.config import Config

from pillion.transport.http.direct import DirectHttpProtocol
from pillion.transport.http.engine import EngineState
from pillion.transport.http.limits import HttpLimits
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pillion.transport.http.handled import Handled

REQUEST = b"POST /shop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def head(length: int, status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % length)]}


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


class Wire(asyncio.Transport):
    """Keeps what is written, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[Any] = []
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Shop:
    """An application of which one handler answers every request."""

    def __init__(self, work: Callable[[Handled], Awaitable[None]]) -> None:
        self._work = work

    async def __call__(self, _scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("a request took the ordinary way")

    def handler(self, _target: bytes) -> Shop:
        return self

    async def handle(self, request: Handled) -> None:
        try:
            await self._work(request)
        finally:
            request.ended()


def asked(work: Callable[[Handled], Awaitable[None]]) -> tuple[DirectHttpProtocol, Wire, EngineState]:
    """A connection that has just received a request."""
    config = Config(Shop(work), ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = EngineState(HttpLimits(), lambda _: None)
    connection, wire = DirectHttpProtocol(config, state, asyncio.get_running_loop()), Wire()
    connection.connection_made(wire)
    connection.data_received(REQUEST)
    return connection, wire, state


async def test_a_head_and_the_body_that_follows_at_once_are_one_write() -> None:
    async def work(request: Handled) -> None:
        await request.send(head(4))
        await request.send(body(b"ab", more=True))
        await request.send(body(b"cd"))

    _, wire, state = asked(work)
    await until(lambda: not state.tasks)
    assert [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab", b"cd"] == wire.writes


async def test_a_head_whose_body_waits_goes_before_it() -> None:
    go = asyncio.Event()

    async def work(request: Handled) -> None:
        await request.send(head(2))
        await go.wait()
        await request.send(body(b"ab"))

    _, wire, state = asked(work)
    await until(lambda: bool(wire.writes))
    assert [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"] == wire.writes
    go.set()
    await until(lambda: not state.tasks)
    assert [b"ab"] == wire.writes[1:]


async def test_a_long_body_is_not_copied_to_join_its_head() -> None:
    content = bytes(1024 * 1024)

    async def work(request: Handled) -> None:
        await request.send(head(len(content)))
        await request.send(body(content))

    _, wire, state = asked(work)
    await until(lambda: not state.tasks)
    assert content is wire.writes[1]


@pytest.mark.parametrize("how", ["cut", "ended"])
async def test_an_answer_that_ends_behind_its_head_is_seen_to_be_broken(how: str) -> None:
    async def work(request: Handled) -> None:
        await request.send(head(2))
        if how == "cut":
            request.cut()

    _, wire, state = asked(work)
    await until(lambda: not state.tasks)
    assert ([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"], True) == (wire.writes, wire.closed)


async def test_nothing_is_written_for_a_client_that_left_meanwhile() -> None:
    left = asyncio.Event()

    async def work(request: Handled) -> None:
        await request.send(head(2))
        connection.connection_lost(None)
        left.set()
        await asyncio.sleep(0)
        await request.send(body(b"ab"))

    connection, wire, state = asked(work)
    await until(lambda: left.is_set() and not state.tasks)
    assert [] == wire.writes


async def test_a_connection_that_closes_meanwhile_keeps_no_other_head_back() -> None:
    go = asyncio.Event()

    async def work(request: Handled) -> None:
        await request.send(head(2))
        await go.wait()

    connection, wire, state = asked(work)
    other = Wire()
    beside = DirectHttpProtocol(connection.config, state, asyncio.get_running_loop())
    beside.connection_made(other)
    wire.close()
    beside.data_received(REQUEST)
    await until(lambda: bool(other.writes))
    assert [] == wire.writes
    go.set()
    await until(lambda: not state.tasks)


async def test_a_status_that_http_does_not_have_fails_its_own_answer_alone() -> None:
    async def work(request: Handled) -> None:
        await request.send(head(2, status=1000))

    _, wire, state = asked(work)
    (task,) = state.tasks
    with pytest.raises(KeyError):
        await task
    assert ([], True) == (wire.writes, wire.closed)
