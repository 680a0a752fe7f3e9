"""The client of plain code, against a server in another process."""

from __future__ import annotations

import concurrent.futures
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pillion.socket import (
    EnqueueTimeoutError,
    NotServedError,
    RemoteError,
    ResponseTimeoutError,
    SocketClient,
    SocketError,
)
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PROGRAM = """
import asyncio
import sys
from pathlib import Path

from pillion.socket import SocketApplication, SocketServer

app = SocketApplication()
counted = []


@app.route("/double")
async def double(x):
    return 2 * x


@app.route("/odd")
async def odd(x):
    if x % 2 == 0:
        raise ValueError(f"{x} is even")
    return x


@app.route("/never")
async def never():
    await asyncio.Event().wait()


@app.route("/count")
async def count(x):
    counted.append(x)


@app.route("/counted")
async def how_many():
    return len(counted)


asyncio.run(SocketServer(app, path=sys.argv[1], shutdown_route="/shutdown").serve())
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "program.py").write_text(_PROGRAM)
    started = _start(tmp_path)
    yield started
    started.kill()
    started.wait()


def _start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, folder / "program.py", folder / "s"], stderr=subprocess.DEVNULL)


@pytest.fixture
def client(process: subprocess.Popen[bytes], tmp_path: Path) -> Iterator[SocketClient]:
    with SocketClient(path=tmp_path / "s", connection_timeout=30) as connected:
        yield connected


def test_requests_errors_and_time_outs(client: SocketClient) -> None:
    np.testing.assert_array_equal([0.0, 2.0], client.request("/double", np.arange(2.0)))
    with pytest.raises(RemoteError, match="2 is even"):
        client.request("/odd", 2)
    with pytest.raises(ResponseTimeoutError):
        client.request("/never", response_timeout=0.05)


def test_threads_share_a_client(client: SocketClient) -> None:
    wrong: list[int] = []

    def work(base: int) -> None:
        wrong.extend(n for n in range(base, base + 100) if client.request("/double", n) != 2 * n)

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong


def test_a_stream_is_ordered_lazy_and_ended_by_its_input(client: SocketClient) -> None:
    read: list[int] = []

    def inputs() -> Iterator[int]:
        for n in range(1, 100):
            read.append(n)
            yield n

    stream = client.stream("/odd", inputs(), return_x=True, return_exceptions=True, concurrency=4)
    assert (1, 1) == next(stream)
    x, error = next(stream)
    assert (2, "ValueError") == (x, error.type)
    assert 5 >= len(read)

    def failing() -> Iterator[int]:
        yield 1
        raise OSError("the disk is on fire")

    stream = client.stream("/odd", failing(), return_exceptions=True)
    assert 1 == next(stream)
    with pytest.raises(OSError, match="the disk is on fire"):
        next(stream)


def test_a_stream_without_return_exceptions_ends_at_the_first(client: SocketClient) -> None:
    stream = client.stream("/odd", [1, 2, 3])
    assert 1 == next(stream)
    with pytest.raises(RemoteError, match="2 is even"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def test_what_wants_no_answer_is_flushed_at_the_exit(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with SocketClient(path=tmp_path / "s") as client:
        for n in range(500):
            assert client.request("/count", n, response_timeout=0) is None
    with SocketClient(path=tmp_path / "s") as client:
        until_now(lambda: client.request("/counted") == 500)


def test_it_connects_again_when_the_server_was_killed_and_started_anew(
    client: SocketClient, process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(EnqueueTimeoutError):
        client.request("/double", 1, enqueue_timeout=0.3)
    again = _start(tmp_path)
    try:
        assert 4 == client.request("/double", 2, enqueue_timeout=30)
    finally:
        again.kill()
        again.wait()


def test_the_shutdown_route_ends_the_process(client: SocketClient, process: subprocess.Popen[bytes]) -> None:
    client.request("/shutdown")
    assert 0 == process.wait(60)


def test_a_client_may_be_opened_again(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    client = SocketClient(path=tmp_path / "s")
    for _ in range(3):
        with client:
            assert 2 == client.request("/double", 1)


def test_a_server_that_does_not_appear_leaves_no_thread(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(NotServedError):
        SocketClient(path=tmp_path / "s", connection_timeout=0.2).__enter__()
    assert 30 > time.monotonic() - began
    until_now(lambda: "pillion-socket" not in {thread.name for thread in threading.enumerate()})


def test_a_client_that_is_not_open_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        SocketClient(path=tmp_path / "s").request("/double", 1)


def test_requests_that_wait_for_their_turn_end_with_the_client(
    process: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    found: list[Exception] = []

    def ask() -> None:
        try:
            connected.request("/never")
        except (SocketError, RuntimeError) as error:
            found.append(error)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
    with SocketClient(path=tmp_path / "s", connection_timeout=30, backlog=1) as connected:
        for thread in threads:
            thread.start()
        until_now(lambda: len(connected._client._room._waiting) == 7)
    for thread in threads:
        thread.join(60)

    assert [] == [thread for thread in threads if thread.is_alive()]
    assert 8 == len(found)


def test_a_request_that_comes_as_the_client_closes_is_refused_and_does_not_wait_for_ever(
    process: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming, closed = threading.Event(), threading.Event()

    class Slow(concurrent.futures.Future[Any]):
        """Holds the thread between its look at the client and its question."""

        def __init__(self) -> None:
            super().__init__()
            if threading.current_thread().name == "late":
                coming.set()
                closed.wait(30)

    found: list[RuntimeError] = []

    def ask() -> None:
        try:
            closing.request("/double", 1)
        except RuntimeError as error:
            found.append(error)

    closing = SocketClient(path=tmp_path / "s", connection_timeout=30)
    late = threading.Thread(target=ask, name="late", daemon=True)
    with closing:
        closing.request("/double", 1)
        monkeypatch.setattr("pillion.socket.client.concurrent.futures.Future", Slow)
        late.start()
        assert coming.wait(60)
        closing._woken = True  # as another leaves it, whose wake-up the loop has not come to before it ended
    closed.set()
    late.join(60)

    assert not late.is_alive()
    assert ["the client is not open: use it in `with`"] == [str(error) for error in found]
