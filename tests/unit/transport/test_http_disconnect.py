"""What happens when a client leaves, through a real uvicorn and a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from pillion.transport.http.body import ClientDisconnected
from pillion.transport.http.disconnect import DisconnectWatch, finish_watched
from pillion.transport.http.dispatcher import Dispatcher
from pillion.transport.http.options import AnswerRecord, DispatchOptions
from tests.unit.transport.plane import SmallPlane
from tests.waiting import WITHIN, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}).encode()


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(scope["path"])


class Running:
    """A dispatcher behind uvicorn on a free port."""

    def __init__(self) -> None:
        self.plane = SmallPlane()
        self.records: list[AnswerRecord] = []
        self.recorded = asyncio.Event()
        self.port = 0

    def record(self, record: AnswerRecord) -> None:
        self.records.append(record)
        self.recorded.set()

    async def post(self, model: str, body: bytes = BODY, length: int | None = None) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        size = len(body) if length is None else length
        writer.write(
            f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + body
        )
        await writer.drain()
        return writer


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    state = Running()
    app = Dispatcher(state.plane, nothing, DispatchOptions(on_answer=state.record))
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    state.port = server.servers[0].sockets[0].getsockname()[1]
    yield state
    server.should_exit = True
    await serving


async def test_a_client_that_leaves_while_its_call_runs_cancels_it(running: Running) -> None:
    writer = await running.post("slow")
    async with asyncio.timeout(WITHIN):
        await running.plane.entered.wait()
        assert 0 == running.plane.cancelled
        writer.close()
        await running.recorded.wait()
    assert (1, 499, "cancelled") == (running.plane.cancelled, running.records[0].status, running.records[0].code)


async def test_a_client_that_stays_gets_its_answer_after_any_wait(running: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(
        f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    )
    async with asyncio.timeout(WITHIN):
        await running.plane.entered.wait()
        await asyncio.sleep(0.05)  # longer than the grace: the connection is being watched now
        running.plane.release.set()
        assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()
    writer.close()


async def test_a_client_that_leaves_during_its_body_never_reaches_the_model(running: Running) -> None:
    writer = await running.post("double", BODY[:10], length=len(BODY))
    writer.close()
    async with asyncio.timeout(WITHIN):
        await running.recorded.wait()
    assert ([], 499) == (running.plane.requests, running.records[0].status)


async def test_a_hundred_clients_that_leave_cancel_a_hundred_calls_and_leave_no_task(running: Running) -> None:
    before = len(asyncio.all_tasks())
    writers = [await running.post("slow") for _ in range(100)]
    await until(lambda: len(running.plane.requests) == 100)
    for writer in writers:
        writer.close()
    await until(lambda: running.plane.cancelled == 100 and len(asyncio.all_tasks()) <= before)
    assert [499] * 100 == [record.status for record in running.records]


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_foreign_cancellation_is_not_taken_for_a_disconnect() -> None:
    async def watched() -> None:
        with DisconnectWatch(never, 0):
            await asyncio.Event().wait()

    task = asyncio.create_task(watched())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_started_coroutine_gets_results_errors_and_cancellation_as_if_awaited() -> None:
    events: list[str] = []

    async def work() -> str:
        await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        events.append("timed out inside")
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, KeyError("inner"))
        try:
            await future
        except KeyError:
            events.append("caught")
        return "done"

    running = work()
    assert "done" == await finish_watched(running, running.send(None), never, 10)
    assert ["timed out inside", "caught"] == events


async def test_the_disconnect_reaches_the_coroutine_as_a_cancellation() -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    ended: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    running = work()
    with pytest.raises(ClientDisconnected):
        await finish_watched(running, running.send(None), gone, 0)
    assert [True] == ended
