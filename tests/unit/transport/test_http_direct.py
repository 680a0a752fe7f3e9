"""Requests answered in the turn that received them: the same answers as the ordinary way, through real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from uvicorn.config import Config

from pillion.errors import ErrorCode
from pillion.transport.http.direct import DirectHttpProtocol
from pillion.transport.http.dispatcher import Dispatcher
from pillion.transport.http.engine import EngineState
from pillion.transport.http.limits import HttpLimits
from pillion.transport.http.options import AnswerRecord, DispatchOptions
from tests.unit.transport.plane import SmallPlane
from tests.waiting import WITHIN, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}).encode()


async def fallback(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class Counting(Dispatcher):
    """Counts requests that took the ordinary way."""

    ordinary = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.ordinary += 1
        await super().__call__(scope, receive, send)


class Running:
    def __init__(self, options: DispatchOptions | None = None, limits: HttpLimits | None = None) -> None:
        self.plane = SmallPlane()
        self.app = Counting(self.plane, fallback, options)
        self.state = EngineState(limits or HttpLimits(), lambda _: None)
        self.server: asyncio.Server | None = None

    async def start(self) -> Running:
        loop = asyncio.get_running_loop()
        config = Config(self.app, ws="none", lifespan="off", log_config=None, access_log=False)
        config.load()
        self.server = await loop.create_server(lambda: DirectHttpProtocol(config, self.state, loop), "127.0.0.1", 0)
        return self

    async def know(self, *models: str) -> None:
        """Ask for each model once: a path that has been asked for is answered directly from then on."""
        async with self.connect() as (reader, writer):
            for model in models:
                writer.write(request(model, b"{"))
                await answer(reader)
        self.app.ordinary = 0

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        assert self.server is not None
        reader, writer = await asyncio.open_connection(*self.server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()

    async def stop(self) -> None:
        self.plane.release.set()
        assert self.server is not None
        self.server.close()


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    state = await Running().start()
    await state.know("double", "slow", "broken", "none", "nan")
    yield state
    await state.stop()


def request(model: str = "double", body: bytes = BODY, *lines: str, version: str = "1.1") -> bytes:
    head = [f"POST /v2/models/{model}/infer HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(WITHIN):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:-2])
        body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, body


@pytest.mark.parametrize(
    ("model", "body", "status"),
    [
        ("double", BODY, 200),
        ("double", BODY.replace(b"FP32", b"FP33"), 400),
        ("double", b"{", 400),
        ("nan", BODY, 400),
        ("none", BODY, 404),
        ("broken", BODY, 500),
    ],
)
async def test_a_request_in_one_piece_gets_the_same_answer_as_one_in_two(
    running: Running, model: str, body: bytes, status: int
) -> None:
    async with running.connect() as (reader, writer):
        message = request(model, body, "X-Request-ID: abc")
        writer.write(message)
        direct = await answer(reader)
        assert 0 == running.app.ordinary
        writer.write(message[:-1])
        await until(lambda: running.app.ordinary == 1)
        writer.write(message[-1:])
        assert (status, direct) == (direct[0], await answer(reader))


async def test_requests_sent_in_one_go_are_answered_in_their_order(running: Running) -> None:
    async with running.connect() as (reader, writer):
        bodies = [BODY[:-1] + f', "id": "{index}"}}'.encode() for index in range(10)]
        writer.write(b"".join(request("double", body) for body in bodies))
        assert [str(index) for index in range(10)] == [json.loads((await answer(reader))[2])["id"] for _ in range(10)]


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Type: text/plain"],
        ["X-Request-Timeout-Seconds: 5"],
        ["Content-Encoding: gzip"],
        ["Expect: 100-continue"],
    ],
)
async def test_what_is_not_plain_goes_the_ordinary_way(running: Running, lines: list[str]) -> None:
    async with running.connect() as (reader, writer):
        writer.write(request("double", BODY, *lines))
        if "Expect" in lines[0]:
            assert b"HTTP/1.1 100 Continue\r\n" == await reader.readline()
            await reader.readline()
        await answer(reader)
        assert 1 == running.app.ordinary


async def test_a_large_answer_is_compressed_on_the_short_way_too(running: Running) -> None:
    async with running.connect() as (reader, writer):
        tensor = {"name": "x", "datatype": "FP32", "shape": [4000], "data": [3] * 4000}
        body = json.dumps({"inputs": [tensor]}).encode()
        writer.write(request("double", body, "Accept-Encoding: gzip") + request("double", body))
        small, whole = await answer(reader), await answer(reader)

        assert ("gzip", whole[2]) == (small[1]["content-encoding"], gzip.decompress(small[2]))
        assert (1, 2) == (running.app.ordinary, len(running.plane.requests))


async def test_a_priority_and_who_sent_it_reach_the_data_plane_on_the_short_way(running: Running) -> None:
    async with running.connect() as (reader, writer):
        writer.write(request("double", BODY[:-1] + b', "parameters": {"priority": 2}}'))
        await answer(reader)
        call = running.plane.calls[-1]
        assert call.client is not None
        assert (0, 2, "%s:%d" % writer.get_extra_info("sockname")) == (  # noqa: UP031 - a pair of values
            running.app.ordinary,
            call.priority,
            call.client(),
        )


async def test_a_client_that_takes_nothing_of_its_answer_is_cut() -> None:
    running = await Running(limits=HttpLimits(write_stall=0.05)).start()
    size = 32 * 1024 * 1024
    head = json.dumps(
        {
            "inputs": [{"name": "x", "datatype": "UINT8", "shape": [size], "parameters": {"binary_data_size": size}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    async with running.connect() as (reader, writer):
        writer.write(request("echo", head + bytes(size), f"Inference-Header-Content-Length: {len(head)}"))
        await writer.drain()
        await until(lambda: bool(running.plane.requests))
        assert len(running.state.connections) == 1
        await until(lambda: not running.state.connections)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(size)
    await running.stop()


async def test_other_methods_and_paths_go_the_ordinary_way(running: Running) -> None:
    async with running.connect() as (reader, writer):
        for line in (b"GET /v2/health/live", b"GET /v2/models/double/infer", b"GET /elsewhere"):
            writer.write(line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            await answer(reader)
        assert 3 == running.app.ordinary


async def test_a_call_that_has_to_wait_is_begun_once_and_answered_later(running: Running) -> None:
    async with running.connect() as (reader, writer):
        writer.write(request("slow"))
        await until(running.plane.entered.is_set)
        await asyncio.sleep(0.05)
        running.plane.release.set()
        assert 200 == (await answer(reader))[0]
        assert (1, 0) == (len(running.plane.requests), running.app.ordinary)


@pytest.mark.parametrize("later", [False, True])
async def test_a_client_that_leaves_cancels_its_call_also_where_another_request_waits_behind_it(later: bool) -> None:  # noqa: FBT001 - whether it came when the connection was watched already
    running = await Running(DispatchOptions(disconnect_grace=0.01)).start()
    await running.know("double", "slow")
    async with running.connect() as (_, writer):
        writer.write(request("slow"))
        if later:
            await until(running.plane.entered.is_set)
            await asyncio.sleep(0.1)
        writer.write(request("double"))
        await until(running.plane.entered.is_set)
        await asyncio.sleep(0.1 if later else 0)
        writer.close()
        await until(lambda: running.plane.cancelled == 1)
        await until(lambda: not running.state.tasks)
        assert 1 == len(running.plane.requests)
    await running.stop()


async def test_a_client_that_leaves_cancels_a_call_that_was_begun(running: Running) -> None:
    async with running.connect() as (_, writer):
        writer.write(request("slow"))
        await until(running.plane.entered.is_set)
        writer.close()
        await until(lambda: running.plane.cancelled == 1)


async def test_a_request_behind_one_that_waits_is_answered_after_it(running: Running) -> None:
    async with running.connect() as (reader, writer):
        writer.write(request("slow") + request("double", BODY, "X-Request-ID: second"))
        await until(running.plane.entered.is_set)
        running.plane.release.set()
        assert "slow" == json.loads((await answer(reader))[2])["model_name"]
        assert "second" == (await answer(reader))[1]["x-request-id"]


async def test_a_client_that_closes_its_half_after_the_request_gets_its_answer(running: Running) -> None:
    async with running.connect() as (reader, writer):
        writer.write(request())
        writer.write_eof()
        assert 200 == (await answer(reader))[0]
        assert 0 == running.app.ordinary


async def test_rubbish_behind_a_request_does_not_cost_its_answer(running: Running) -> None:
    async with running.connect() as (reader, writer):
        writer.write(request() + b"\x00\x01rubbish\r\n\r\n")
        assert [200, 400] == [(await answer(reader))[0] for _ in range(2)]
        assert b"" == await reader.read()


async def test_a_client_that_says_close_is_closed_after_an_answer_that_had_to_wait(running: Running) -> None:
    async with running.connect() as (reader, writer):
        writer.write(request("slow", BODY, "Connection: close"))
        await until(running.plane.entered.is_set)
        running.plane.release.set()
        status, headers, _ = await answer(reader)
        assert (200, "close") == (status, headers["connection"])
        assert b"" == await reader.read()


class Wire(asyncio.Transport):
    """A connection without a network: what the other tests cannot hit, two events in one turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def received(running: Running) -> tuple[DirectHttpProtocol, Wire]:
    """A connection that has just received a request, which waits for the end of the turn."""
    config = Config(running.app, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    connection, wire = DirectHttpProtocol(config, running.state, asyncio.get_running_loop()), Wire()
    connection.connection_made(wire)
    connection.data_received(request())
    assert b"" == wire.written
    return connection, wire


async def test_the_end_of_the_server_comes_after_an_answer_that_is_due(running: Running) -> None:
    connection, wire = received(running)
    running.state.drain()
    connection.shutdown()
    assert wire.written.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close\r\n" in wire.written
    assert wire.closed


@pytest.mark.parametrize("end", ["shutdown", "cut"])
async def test_an_answer_that_is_due_is_sent_before_the_connection_ends(running: Running, end: str) -> None:
    connection, wire = received(running)
    getattr(connection, end)()
    assert wire.written.startswith(b"HTTP/1.1 200 OK")
    assert wire.closed
    await asyncio.sleep(0)
    assert 1 == wire.written.count(b"HTTP/1.1")


async def test_two_requests_in_two_reads_of_one_turn_are_each_computed_once(running: Running) -> None:
    connection, wire = received(running)
    connection.data_received(request())
    await asyncio.sleep(0)
    assert (2, 2) == (len(running.plane.requests), wire.written.count(b"HTTP/1.1 200 OK"))


async def test_a_client_that_left_within_the_turn_costs_no_call(running: Running) -> None:
    connection, wire = received(running)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert (b"", 0) == (wire.written, len(running.plane.requests))


async def test_a_connection_with_a_request_that_waits_is_not_idle(running: Running) -> None:
    connection, wire = received(running)
    connection.timeout_keep_alive_handler()
    assert not wire.closed
    await asyncio.sleep(0)
    assert wire.written.startswith(b"HTTP/1.1 200 OK")


async def test_an_answer_while_draining_says_close_and_closes(running: Running) -> None:
    async with running.connect() as (reader, writer):
        running.state.drain()
        writer.write(request())
        assert "close" == (await answer(reader))[1]["connection"]
        assert b"" == await reader.read()


@pytest.mark.parametrize(("version", "line"), [("1.0", "X-Nothing: 1"), ("1.1", "Connection: close")])
async def test_a_connection_that_is_not_kept_is_closed(running: Running, version: str, line: str) -> None:
    async with running.connect() as (reader, writer):
        writer.write(request("double", BODY, line, version=version))
        assert 200 == (await answer(reader))[0]
        assert b"" == await reader.read()


async def test_an_idle_connection_is_closed_after_a_direct_answer_too() -> None:
    running = await Running(limits=HttpLimits(keep_alive=0.1)).start()
    await running.know("double")
    async with running.connect() as (reader, writer):
        writer.write(request())
        assert 200 == (await answer(reader))[0]
        async with asyncio.timeout(WITHIN):
            assert b"" == await reader.read()
    await running.stop()


async def test_every_request_is_recorded_where_a_log_is_kept() -> None:
    records: list[AnswerRecord] = []
    running = await Running(DispatchOptions(on_answer=records.append)).start()
    async with running.connect() as (reader, writer):
        writer.write(request())
        await answer(reader)
        assert [200] == [record.status for record in records]
    await running.stop()


async def test_a_raw_answer_to_a_plain_request_is_one_body(running: Running) -> None:
    document = {**json.loads(BODY), "parameters": {"binary_data_output": True}}
    async with running.connect() as (reader, writer):
        writer.write(request("double", json.dumps(document).encode()))
        status, headers, body = await answer(reader)
    assert (200, 0, 1) == (status, running.app.ordinary, len(running.plane.requests))
    assert np.array([2, 4, 6, 8], np.float32).tobytes() == body[int(headers["inference-header-content-length"]) :]


async def test_raw_tensors_are_answered_on_the_short_way(running: Running) -> None:
    known = len(running.plane.refusals)
    numbers = np.array([1, 2, 3, 4], np.float32).tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": len(numbers)}}
    document = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    async with running.connect() as (reader, writer):
        writer.write(request("double", document + numbers, f"Inference-Header-Content-Length: {len(document)}"))
        status, headers, body = await answer(reader)
        assert (200, 0) == (status, running.app.ordinary)
        assert np.array([2, 4, 6, 8], np.float32).tobytes() == body[int(headers["inference-header-content-length"]) :]

        writer.write(request("double", document + numbers, "Inference-Header-Content-Length: many"))
        status, _, body = await answer(reader)
        assert (400, True) == (status, b"whole number of bytes" in body)
    assert [ErrorCode.INVALID_ARGUMENT] == [code for code, *_ in running.plane.refusals[known:]]
