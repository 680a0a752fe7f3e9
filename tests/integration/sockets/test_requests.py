"""Requests, their answers, their time-outs and their errors, over a real unix socket."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pillion.socket import (
    AsyncSocketClient,
    ConnectionLostError,
    EnqueueTimeoutError,
    NotServedError,
    ProtocolError,
    RemoteError,
    ResponseTimeoutError,
    SocketServer,
    UnknownPathError,
)
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.integration.sockets.service import Held


async def test_values_and_arrays_go_there_and_back(client: AsyncSocketClient) -> None:
    assert {"a": [1, None, b"x"]} == await client.request("/echo", {"a": [1, None, b"x"]})
    array = np.random.default_rng(0).random((1000, 700))
    np.testing.assert_array_equal(2 * array, await client.request("/double", array))


async def test_no_data_is_another_thing_than_none(client: AsyncSocketClient, held: Held) -> None:
    assert await client.request("/nothing") is None
    assert await client.request("/echo", None) is None
    assert {"nothing": 1} == held.seen
    with pytest.raises(RemoteError, match="/nothing takes no data, and some was sent"):
        await client.request("/nothing", None)
    with pytest.raises(RemoteError, match=r"TypeError.*missing 1 required positional argument"):
        await client.request("/echo")


async def test_an_error_carries_type_message_and_the_traceback_of_the_function(client: AsyncSocketClient) -> None:
    with pytest.raises(RemoteError) as failure:
        await client.request("/fails", "bread")
    error = failure.value
    assert ("LookupError", "no bread", "LookupError: no bread") == (error.type, error.message, str(error))
    assert 'raise LookupError(f"no {x}")' in error.traceback
    assert "handle_request" not in error.traceback


async def test_errors_that_cannot_be_told_are_answered_all_the_same(
    server: SocketServer, client: AsyncSocketClient, held: Held
) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    async def lost_file() -> None:
        raise OSError(2, "no such file", "caf\udce9")

    async def mute() -> None:
        raise MuteError

    async def awaits_what_is_cancelled() -> None:
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other

    held.app.add_route("/lost", lost_file)
    held.app.add_route("/mute", mute)
    held.app.add_route("/cancelled", awaits_what_is_cancelled)
    with pytest.raises(RemoteError, match=r"caf\\+udce9"):
        await asyncio.wait_for(client.request("/lost"), 60)
    with pytest.raises(RemoteError, match="MuteError"):
        await asyncio.wait_for(client.request("/mute"), 60)
    with pytest.raises(RemoteError, match="CancelledError"):
        await asyncio.wait_for(client.request("/cancelled"), 60)


async def test_a_client_whose_end_is_cancelled_keeps_nothing(server: SocketServer, path: Path) -> None:
    before = asyncio.all_tasks()
    client = await AsyncSocketClient(path=path).__aenter__()
    server.stop()
    await until(lambda: not path.exists())
    with pytest.raises(EnqueueTimeoutError):
        await client.request("/double", 1, enqueue_timeout=0.1)
    await client.request("/nothing", response_timeout=0)
    leaving = asyncio.create_task(client.__aexit__())
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert not asyncio.all_tasks() - before


async def test_an_unknown_path_lists_those_there_are(client: AsyncSocketClient) -> None:
    with pytest.raises(UnknownPathError, match="there is no path /echo/; there are: /echo, /double, "):
        await client.request("/echo/", 1)


async def test_an_answer_that_cannot_be_sent_is_the_functions_error(client: AsyncSocketClient) -> None:
    with pytest.raises(RemoteError, match="TypeError: a object cannot be sent"):
        await client.request("/unsendable")


async def test_what_cannot_be_sent_is_refused_before_it_is(client: AsyncSocketClient) -> None:
    with pytest.raises(TypeError, match="cannot be sent"):
        await client.request("/echo", object())


async def test_answers_come_in_the_order_they_are_ready(client: AsyncSocketClient, held: Held) -> None:
    slow = asyncio.create_task(client.request("/held", "slow"))
    await until(lambda: held.seen["slow begun"] == 1)
    assert 2 == await client.request("/double", 1)
    held.let("slow")
    assert "slow" == await slow


async def test_a_small_request_overtakes_a_large_one_on_the_same_connection(client: AsyncSocketClient) -> None:
    order: list[str] = []

    async def ask(name: str, data: Any) -> None:
        await client.request("/echo", data)
        order.append(name)

    large = asyncio.create_task(ask("large", np.zeros(6_000_000)))
    await asyncio.sleep(0)
    await ask("small", 1)
    await large
    assert ["small", "large"] == order


async def test_a_thousand_at_once_each_get_their_own_answer(client: AsyncSocketClient) -> None:
    answers = await asyncio.gather(*(client.request("/double", n) for n in range(1000)))
    assert [2 * n for n in range(1000)] == answers


# --- time-outs and cancellation


async def test_sent_and_no_answer_in_time_is_an_error_of_its_own_and_cancels_the_function(
    client: AsyncSocketClient, held: Held
) -> None:
    with pytest.raises(ResponseTimeoutError, match=r"/held: sent, and there is no answer within 0\.5 s"):
        await client.request("/held", "late", response_timeout=0.5)  # time enough to begin
    await until(lambda: held.seen["late cancelled"] == 1)


async def test_never_sent_is_another_error(server: SocketServer, path: Path, held: Held) -> None:
    async with AsyncSocketClient(path=path, backlog=1) as client:
        first = asyncio.create_task(client.request("/held", "first"))
        await until(lambda: held.seen["first begun"] == 1)
        with pytest.raises(EnqueueTimeoutError, match=r"there are 1 others \(backlog\)"):
            await client.request("/echo", 1, enqueue_timeout=0.05)
        held.let("first")
        await first
        assert 1 == await client.request("/echo", 1, enqueue_timeout=5)


async def test_who_awaits_and_is_cancelled_cancels_the_function(client: AsyncSocketClient, held: Held) -> None:
    asked = asyncio.create_task(client.request("/held", "gone"))
    await until(lambda: held.seen["gone begun"] == 1)
    asked.cancel()
    await until(lambda: held.seen["gone cancelled"] == 1)


async def test_a_large_request_may_be_cancelled_in_its_middle(client: AsyncSocketClient) -> None:
    for _ in range(5):
        asked = asyncio.create_task(client.request("/echo", np.zeros(4_000_000)))
        for _ in range(3):
            await asyncio.sleep(0)
        asked.cancel()
    assert 2 == await client.request("/double", 1)


async def test_a_connection_that_ends_cancels_its_functions(server: SocketServer, path: Path, held: Held) -> None:
    async with AsyncSocketClient(path=path) as client:
        asked = asyncio.create_task(client.request("/held", "cut"))
        await until(lambda: held.seen["cut begun"] == 1)
    with pytest.raises(ConnectionLostError, match="sent, and the connection ended before the answer"):
        await asked
    await until(lambda: held.seen["cut cancelled"] == 1)


# --- requests that want no answer


async def test_requests_that_want_no_answer_leave_before_the_client_does(
    server: SocketServer, path: Path, held: Held
) -> None:
    async with AsyncSocketClient(path=path) as client:
        for _ in range(700):
            assert await client.request("/nothing", response_timeout=0) is None
    await until(lambda: held.seen["nothing"] == 700)


async def test_they_go_on_when_their_client_is_gone_and_a_stop_waits_for_them(path: Path, held: Held) -> None:
    async with SocketServer(held.app, path=path):
        async with AsyncSocketClient(path=path) as client:
            await client.request("/held", "left", response_timeout=0)
        await until(lambda: held.seen["left begun"] == 1)
        asyncio.get_running_loop().call_later(0.2, held.let, "left")
    assert 1 == held.seen["left ended"]


async def test_their_data_may_be_changed_at_once(client: AsyncSocketClient, held: Held) -> None:
    got: list[float] = []

    async def keep(x: np.ndarray[Any, Any]) -> None:
        got.append(float(x.sum()))

    held.app.add_route("/keep", keep)
    data = np.ones(3_000_000)
    await client.request("/keep", data, response_timeout=0)
    data[:] = 0
    await until(lambda: got == [3_000_000.0])


async def test_their_errors_are_in_the_servers_log(client: AsyncSocketClient, caplog: pytest.LogCaptureFixture) -> None:
    await client.request("/fails", "bread", response_timeout=0)
    await until(lambda: "a request that wants no answer failed: LookupError: no bread" in caplog.text)


# --- streams


async def test_a_stream_is_ordered_and_gives_inputs_and_exceptions_on_request(client: AsyncSocketClient) -> None:
    stream = client.stream("/odd", range(1, 5), return_x=True, return_exceptions=True)
    found = [(x, answer if isinstance(answer, int) else answer.type) async for x, answer in stream]
    assert [(1, 1), (2, "ValueError"), (3, 3), (4, "ValueError")] == found


async def test_a_stream_ends_with_the_first_exception_unless_they_are_asked_for(client: AsyncSocketClient) -> None:
    stream = client.stream("/odd", range(1, 5))
    assert 1 == await anext(stream)
    with pytest.raises(RemoteError, match="2 is even"):
        await anext(stream)


async def test_a_stream_reads_no_further_ahead_than_its_concurrency(client: AsyncSocketClient) -> None:
    read: list[int] = []

    def inputs() -> Iterator[int]:
        for n in range(1000):
            read.append(n)
            yield n

    stream = client.stream("/echo", inputs(), concurrency=5)
    assert 0 == await anext(stream)
    await asyncio.sleep(0.05)
    assert 6 >= len(read)
    await stream.aclose()


async def test_a_stream_gives_answers_while_its_input_waits(client: AsyncSocketClient) -> None:
    more = asyncio.Event()

    async def inputs() -> AsyncIterator[int]:
        yield 1
        await more.wait()
        yield 2

    stream = client.stream("/echo", inputs())
    assert 1 == await asyncio.wait_for(anext(stream), 60)
    more.set()
    assert [2] == [answer async for answer in stream]


@pytest.mark.parametrize("kept", [True, False])
async def test_an_error_of_the_input_always_ends_the_stream_after_the_answers_before_it(
    client: AsyncSocketClient, *, kept: bool
) -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise OSError("the disk is on fire")

    stream = client.stream("/echo", inputs(), return_exceptions=kept)
    assert 1 == await anext(stream)
    with pytest.raises(OSError, match="the disk is on fire"):
        await anext(stream)


async def test_each_item_of_a_stream_has_a_time_of_its_own(client: AsyncSocketClient, held: Held) -> None:
    held.let("quick")
    stream = client.stream("/held", ["quick", "never", "quick"], response_timeout=1.0, return_exceptions=True)
    found = [answer if isinstance(answer, str) else type(answer) async for answer in stream]
    assert ["quick", ResponseTimeoutError, "quick"] == found


async def test_who_leaves_a_stream_cancels_what_it_began(client: AsyncSocketClient, held: Held) -> None:
    stream = client.stream("/held", ["a", "b"])
    reading = asyncio.ensure_future(anext(stream))
    await until(lambda: held.seen["b begun"] == 1)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await until(lambda: held.seen["a cancelled"] == held.seen["b cancelled"] == 1)


# --- connections


async def test_a_client_waits_for_its_server_to_appear(path: Path, held: Held) -> None:
    connecting = asyncio.create_task(AsyncSocketClient(path=path, connection_timeout=20).__aenter__())
    await asyncio.sleep(0.1)
    assert not connecting.done()
    async with SocketServer(held.app, path=path):
        client = await connecting
        assert 4 == await client.request("/double", 2)
        await client.__aexit__()


async def test_a_server_that_does_not_appear_is_told_with_its_address_and_the_setting(path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(NotServedError, match=rf"no server at {path} within 0\.3 s \(connection_timeout\)"):
        await AsyncSocketClient(path=path, connection_timeout=0.3).__aenter__()
    assert 30 > time.monotonic() - began


async def test_a_client_connects_again_to_the_next_server_and_what_was_not_sent_is(path: Path, held: Held) -> None:
    async with SocketServer(held.app, path=path):
        client = await AsyncSocketClient(path=path).__aenter__()
        assert 2 == await client.request("/double", 1)
    waiting = asyncio.create_task(client.request("/double", 3))
    with pytest.raises(EnqueueTimeoutError, match="not sent in time"):
        await client.request("/double", 4, enqueue_timeout=0.05)
    async with SocketServer(held.app, path=path):
        assert 6 == await asyncio.wait_for(waiting, 60)
        await client.__aexit__()


async def test_a_server_that_is_gone_for_good_fails_what_waits_for_it(path: Path, held: Held) -> None:
    async with SocketServer(held.app, path=path):
        client = await AsyncSocketClient(path=path, connection_timeout=1.0).__aenter__()
    with pytest.raises(NotServedError, match=r"connection_timeout"):
        await asyncio.wait_for(client.request("/double", 3), 60)
    await client.__aexit__()


async def test_a_server_that_stops_answers_what_it_has_begun(path: Path, held: Held) -> None:
    server = SocketServer(held.app, path=path)
    serving = asyncio.create_task(server.serve())
    async with AsyncSocketClient(path=path) as client:
        asked = asyncio.create_task(client.request("/held", "last"))
        await until(lambda: held.seen["last begun"] == 1)
        server.stop()
        await until(lambda: not path.exists())
        held.let("last")
        assert "last" == await asked
        await serving


async def test_a_request_that_outlasts_the_grace_is_cut(path: Path, held: Held) -> None:
    server = SocketServer(held.app, path=path, grace_seconds=0.05)
    serving = asyncio.create_task(server.serve())
    async with AsyncSocketClient(path=path) as client:
        asked = asyncio.create_task(client.request("/held", "cut"))
        await until(lambda: held.seen["cut begun"] == 1)
        server.stop()
        with pytest.raises(ConnectionLostError):
            await asked
        await serving
    assert 1 == held.seen["cut cancelled"]


async def test_several_connections_share_the_requests(server: SocketServer, path: Path, held: Held) -> None:
    async with AsyncSocketClient(path=path, num_connections=3) as client:
        await until(lambda: len(client._connections) == 3)
        asked = [asyncio.create_task(client.request("/held", "x")) for _ in range(6)]
        await until(lambda: held.seen["x begun"] == 6)
        assert [2, 2, 2] == [len(connection.calls) for connection in client._connections]
        held.let("x")
        await asyncio.gather(*asked)


async def test_a_request_that_is_too_large_is_told_with_both_sizes(path: Path, held: Held) -> None:
    async with SocketServer(held.app, path=path, max_bytes=1000), AsyncSocketClient(path=path) as client:
        with pytest.raises(ValueError, match="the request has 8032 bytes and the server takes at most 1000"):
            await client.request("/echo", np.zeros(1000))
        assert 1 == await client.request("/echo", 1)


async def test_an_answer_that_is_too_large_is_told_by_the_server(server: SocketServer, path: Path, held: Held) -> None:
    async with AsyncSocketClient(path=path, max_bytes=1000) as client:
        with pytest.raises(RemoteError, match="the client takes at most 1000: raise its max_bytes"):
            await client.request("/double", [0] * 2000)


async def test_a_connection_with_too_many_requests_waits_and_others_do_not(path: Path, held: Held) -> None:
    async with (
        SocketServer(held.app, path=path, max_requests=2),
        AsyncSocketClient(path=path) as busy,
        AsyncSocketClient(path=path) as other,
    ):
        asked = [asyncio.create_task(busy.request("/held", "x")) for _ in range(5)]
        await until(lambda: held.seen["x begun"] == 2)
        assert 2 == await other.request("/double", 1)
        assert 2 == held.seen["x begun"]
        held.let("x")
        assert ["x"] * 5 == await asyncio.gather(*asked)


async def test_nothing_is_left_open(path: Path, held: Held) -> None:
    before = _descriptors()
    for _ in range(3):
        async with SocketServer(held.app, path=path), AsyncSocketClient(path=path, num_connections=4) as client:
            await client.request("/echo", np.zeros(100_000))
    gc.collect()
    await until(lambda: _descriptors() <= before)
    await until(lambda: len(asyncio.all_tasks()) == 1)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_client_that_is_not_open_says_so(path: Path) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await AsyncSocketClient(path=path).request("/echo")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "give either path= of a unix socket, or port= and host= of TCP"),
        ({"path": "/x", "port": 1}, "give either"),
        ({"path": "/" + "x" * 200}, "longer than the 107 bytes"),
        ({"path": ""}, "path is empty: name the file"),
        ({"port": 70_000}, "port is 70000: ports are from 1 to 65535"),
        ({"port": "8000"}, "port is a number, and not a str"),
        ({"path": "/x", "backlog": 0}, "1 at least"),
        ({"path": "/x", "num_connections": 0}, "1 at least"),
    ],
)
def test_bad_arguments_are_told(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        AsyncSocketClient(**arguments)


@pytest.mark.parametrize(
    ("path", "times", "told"),
    [
        (5, {}, "path is the text of a path, such as '/double', and not a int"),
        (
            "/double",
            {"response_timeout": "5"},
            "response_timeout is a number of seconds, or None to wait, and not a str",
        ),
        (
            "/double",
            {"enqueue_timeout": [1]},
            "enqueue_timeout is a number of seconds, or None to wait, and not a list",
        ),
        ("/double", {"response_timeout": -1}, "response_timeout is -1: a number of seconds"),
        ("/double", {"enqueue_timeout": float("nan")}, "enqueue_timeout is nan: a number of seconds"),
    ],
)
async def test_bad_arguments_of_a_request_are_told_before_it_is_sent(
    path: Any, times: dict[str, Any], told: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        await AsyncSocketClient(path="/x").request(path, 1, **times)


async def test_garbage_instead_of_a_server_is_told(path: Path) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ready\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(greet, path):
        with pytest.raises(ProtocolError, match="does not speak this protocol: it began with b'220 mail"):
            await AsyncSocketClient(path=path, connection_timeout=5).__aenter__()
