"""Who may connect, where a server listens, and what it makes of bad clients."""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import os
import socket
import ssl
import stat
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from pillion.socket import (
    AsyncSocketClient,
    ProtocolError,
    RefusedError,
    SocketApplication,
    SocketClient,
    SocketServer,
    UnknownPathError,
)
from pillion.socket.frames import Kind, frames, greeting
from pillion.socket.values import pack
from pillion.socket_file import SocketFile
from tests.certificates import Authority
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sockets.service import Held


# --- the application


async def test_an_application_answers_without_a_server() -> None:
    app = SocketApplication()

    @app.route("/double")
    async def double(x: int) -> int:
        return 2 * x

    assert 4 == await app.handle_request("/double", 2)
    with pytest.raises(UnknownPathError, match="there is no path /x; there are: /double"):
        await app.handle_request("/x")


async def none() -> None:
    return None


async def two(x: int, y: int) -> int:
    return x + y


async def keyword(*, x: int) -> int:
    return x


def plain(x: int) -> int:
    return x


@pytest.mark.parametrize(
    ("path", "function", "told"),
    [
        ("x", none, "a path begins with a slash"),
        ("/x", two, "takes 2 arguments: one or none"),
        ("/x", keyword, "takes 1 arguments: one or none"),
        ("/x", plain, "plain is not async"),
    ],
)
def test_routes_that_cannot_be_are_refused(path: str, function: Any, told: str) -> None:
    with pytest.raises((ValueError, TypeError), match=told):
        SocketApplication().add_route(path, function)


def test_a_path_is_taken_once() -> None:
    app = SocketApplication()
    app.add_route("/x", none)
    with pytest.raises(ValueError, match="the path /x is taken by none"):
        app.add_route("/x", none)


async def test_an_object_with_an_async_call_answers() -> None:
    class Doubling:
        async def __call__(self, x: int) -> int:
            return 2 * x

    app = SocketApplication()
    app.add_route("/double", Doubling())
    assert 6 == await app.handle_request("/double", 3)


# --- the file


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _there(path: Path) -> bool:
    return path.exists()


def _remove(path: Path) -> None:
    path.unlink()


def _text(path: Path) -> str:
    return path.read_text()


def _put(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)


async def test_the_file_has_its_mode_and_is_removed(held: Held, path: Path) -> None:
    async with SocketServer(held.app, path=path):
        assert 0o600 == _mode(path)
    assert not _there(path)
    async with SocketServer(held.app, path=path, mode=0o660):
        assert 0o660 == _mode(path)


async def test_a_file_that_a_dead_server_left_is_replaced(held: Held, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with SocketServer(held.app, path=path), AsyncSocketClient(path=path) as client:
        assert 2 == await client.request("/double", 1)


async def test_a_file_that_a_live_server_answers_on_is_not(server: SocketServer, held: Held, path: Path) -> None:
    with pytest.raises(FileExistsError, match="another process listens on it"):
        await SocketServer(held.app, path=path).serve()
    async with AsyncSocketClient(path=path) as client:
        assert 2 == await client.request("/double", 1)


async def test_servers_that_start_at_once_do_not_take_each_others_file(path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    folder = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as one that looks whether the file is a dead one's
    second = asyncio.create_task(asyncio.to_thread(SocketFile(str(path), 0o600).listen, 1))
    done, _ = await asyncio.wait((second,), timeout=0.3)
    assert not done
    _remove(path)
    with socket.socket(socket.AF_UNIX) as first:
        first.bind(str(path))
        first.listen()
        os.close(folder)
        with pytest.raises(FileExistsError, match="another process listens on it"):
            await second


async def test_the_umask_of_other_threads_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail(f"set to {mask:o}"))
    SocketFile(str(path), 0o640).listen(1).close()
    assert 0o640 == _mode(path)


async def test_nor_is_one_whose_queue_is_full(held: Held, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(str(path))
        full.listen(0)
        waiting = []
        for _ in range(3):
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            waiting.append(one)
            try:
                one.connect(str(path))
            except BlockingIOError:
                break
        with pytest.raises(FileExistsError, match="another process listens on it"):
            await SocketServer(held.app, path=path).serve()
        for one in waiting:
            one.close()


async def test_a_file_that_is_no_socket_is_left_alone(held: Held, path: Path) -> None:
    _put(path, "precious")
    with pytest.raises(FileExistsError, match="a file that is no socket is in the way"):
        await SocketServer(held.app, path=path).serve()
    assert "precious" == _text(path)


async def test_a_file_that_another_server_has_put_there_is_not_removed(held: Held, path: Path) -> None:
    async with SocketServer(held.app, path=path):
        _put(path, "somebody else's")
    assert "somebody else's" == _text(path)


# --- who may connect


async def test_users_are_told_by_the_kernel(held: Held, path: Path) -> None:
    async with SocketServer(held.app, path=path, uids={os.getuid()}), AsyncSocketClient(path=path) as client:
        assert 2 == await client.request("/double", 1)


async def test_a_user_that_may_not_is_refused_and_not_asked_again_and_again(
    held: Held, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SocketServer(held.app, path=path, uids={os.getuid() + 1}), AsyncSocketClient(path=path) as client:
        with pytest.raises(RefusedError, match=f"user {os.getuid()} may not connect here"):
            await client.request("/nothing")
        await asyncio.sleep(0.1)
    assert {} == held.seen
    assert 1 == caplog.text.count("a client was refused")


async def test_a_token_is_asked_for(held: Held) -> None:
    async with SocketServer(held.app, port=0, token="secret") as server:
        async with AsyncSocketClient(port=server.port, token="secret") as client:
            assert 2 == await client.request("/double", 1)
        async with AsyncSocketClient(port=server.port, token="guess") as client:
            with pytest.raises(RefusedError, match="the token is wrong"):
                await client.request("/double", 1)
        async with AsyncSocketClient(port=server.port) as client:
            with pytest.raises(RefusedError, match="a token is asked for, and none was given"):
                await client.request("/nothing")
    assert {} == held.seen


async def test_a_stranger_is_refused_before_a_large_message_is_kept(held: Held) -> None:
    async with SocketServer(held.app, port=0, token="secret") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(greeting(1 << 20))
        writer.writelines(next(frames(Kind.REQUEST, 1, [bytes(1 << 20)])))
        assert b"a token is asked for" in await asyncio.wait_for(reader.read(), 60)
        writer.close()


async def test_tls_on_every_address(held: Held, tmp_path: Path) -> None:
    authority = Authority()
    cert, key = authority.issue().write(tmp_path)
    _put(tmp_path / "ca.crt", authority.pem)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(cert, key)
    theirs = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    async with SocketServer(held.app, host="0.0.0.0", port=0, tls=ours) as server:
        async with AsyncSocketClient(host="localhost", port=server.port, tls=theirs) as client:
            array = np.random.default_rng(0).random(200_000)
            np.testing.assert_array_equal(array, await client.request("/echo", array))
        stranger = ssl.create_default_context()
        with pytest.raises(ProtocolError, match="is not trusted"):
            await AsyncSocketClient(host="localhost", port=server.port, tls=stranger).__aenter__()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"host": "0.0.0.0", "port": 0}, "can be reached from other machines.*set tls= or token="),
        ({"host": "10.1.2.3", "port": 1}, "can be reached from other machines"),
        ({}, "give either path="),
        ({"path": "/x", "port": 1}, "give either path="),
        ({"path": "/x", "host": "localhost"}, "give either path="),
        ({"port": 0, "uids": {0}}, "uids are of a unix socket's clients"),
        ({"path": "/x", "max_requests": 0}, "1 at least"),
        ({"path": "/x", "shutdown_route": "/echo"}, "is a path of the application"),
        ({"path": "/x", "tls": ssl.create_default_context()}, "tls is for TCP"),
    ],
)
def test_bad_arguments_are_told(held: Held, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SocketServer(held.app, **arguments)


def test_the_bounds_are_those_that_are_promised() -> None:
    def default(function: Any, name: str) -> object:
        return inspect.signature(function).parameters[name].default

    assert (256, None) == (default(SocketServer, "max_requests"), default(SocketServer, "shutdown_route"))
    for client in (SocketClient, AsyncSocketClient):
        assert (60, 2048) == (default(client, "connection_timeout"), default(client, "backlog"))
        for timeout in ("enqueue_timeout", "response_timeout"):
            assert (None, 60) == (default(client.request, timeout), default(client.stream, timeout))


# --- stopping


async def test_a_shutdown_route_is_off_unless_it_is_named(held: Held, path: Path) -> None:
    async with SocketServer(held.app, path=path), AsyncSocketClient(path=path) as client:
        with pytest.raises(UnknownPathError):
            await client.request("/shutdown")
    serving = asyncio.create_task(SocketServer(held.app, path=path, shutdown_route="/shutdown").serve())
    async with AsyncSocketClient(path=path) as client:
        assert await client.request("/shutdown") is None
        await asyncio.wait_for(serving, 60)


async def test_a_server_that_is_cancelled_removes_its_file(held: Held, path: Path) -> None:
    serving = asyncio.create_task(SocketServer(held.app, path=path).serve())
    await until(path.exists)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert not _there(path)


async def test_one_that_is_cancelled_while_it_starts_serves_nobody(held: Held, path: Path) -> None:
    before = asyncio.all_tasks()
    starting = asyncio.create_task(SocketServer(held.app, path=path).__aenter__())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until(lambda: asyncio.all_tasks() <= before)
    assert not _there(path)


# --- bad clients


class Raw:
    """A connection that says what a test likes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_unix_connection(self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    def send(self, kind: Kind, number: int, body: bytes = b"") -> None:
        for frame in frames(kind, number, [body]):
            self.writer.writelines(frame)

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), 60)
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "does not speak this protocol"),
        (b"\x16\x03\x01", "does not speak this protocol"),
        (greeting(1).replace(b"\x01\x00", b"\x02\x00", 1), "the other side speaks version 2"),
        (greeting(1) + b"\xff" * 40, "what has come is no frame"),
        (greeting(1) + b"".join(next(frames(Kind.RESPONSE, 1, [b""]))), "a client does not send RESPONSE"),
    ],
)
async def test_garbage_ends_its_connection_with_a_line_in_the_log_and_no_other(
    server: SocketServer, path: Path, caplog: pytest.LogCaptureFixture, said: bytes, told: str
) -> None:
    async with AsyncSocketClient(path=path) as other, Raw(path) as raw:
        raw.say(said)
        assert len(greeting(0)) == len(await raw.rest())
        await until(lambda: told in caplog.text)
        assert 2 == await other.request("/double", 1)


async def test_a_request_that_cannot_be_read_is_its_own_fault(server: SocketServer, path: Path) -> None:
    async with Raw(path) as raw:
        raw.say(greeting(1 << 20))
        raw.send(Kind.REQUEST, 1, b"\xff\xff\xff\xff")
        raw.send(Kind.REQUEST, 2, b"".join(pack(["/double", 4])))
        answers = await asyncio.wait_for(raw.reader.readuntil(b"\x08"), 60)
    assert b"ProtocolError" in answers


async def test_a_path_that_is_no_text_is_told(server: SocketServer, path: Path) -> None:
    async with Raw(path) as raw:
        raw.say(greeting(1 << 20))
        raw.send(Kind.REQUEST, 1, b"".join(pack([["/double"], 4])))
        assert b"ProtocolError" in await asyncio.wait_for(raw.reader.readuntil(b"ProtocolError"), 60)


async def test_a_number_that_is_used_twice_ends_the_connection(
    server: SocketServer, path: Path, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    async with Raw(path) as raw:
        raw.say(greeting(1 << 20))
        raw.send(Kind.REQUEST, 1, b"".join(pack(["/held", "x"])))
        await until(lambda: held.seen["x begun"] == 1)
        raw.send(Kind.REQUEST, 1, b"".join(pack(["/held", "x"])))
        await raw.rest()
    await until(lambda: "request 1 came a second time" in caplog.text)
    await until(lambda: held.seen["x cancelled"] == 1)


async def test_one_that_says_nothing_or_stops_in_the_middle_is_ended(held: Held, path: Path) -> None:
    async with (
        SocketServer(held.app, path=path, stall_seconds=0.3),
        Raw(path) as silent,
        Raw(path) as stalled,
        AsyncSocketClient(path=path) as idle,
    ):
        stalled.say(greeting(1))
        stalled.send(Kind.REQUEST, 1, b"x" * 40)
        stalled.say(b"\x01")
        await asyncio.gather(silent.rest(), stalled.rest())
        assert 2 == await idle.request("/double", 1)  # one that waits between requests is not


async def test_one_that_sends_no_more_is_gone_and_its_requests_are_cancelled(
    server: SocketServer, path: Path, held: Held
) -> None:
    async with Raw(path) as raw:
        raw.say(greeting(1 << 20))
        raw.send(Kind.REQUEST, 1, b"".join(pack(["/held", "x"])))
        await until(lambda: held.seen["x begun"] == 1)
        raw.writer.write_eof()
        await until(lambda: held.seen["x cancelled"] == 1)


async def test_one_that_reads_nothing_holds_up_nobody(server: SocketServer, path: Path) -> None:
    async with Raw(path) as raw, AsyncSocketClient(path=path) as other:
        raw.say(greeting(1 << 30))
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        for number in range(1, 50):
            raw.send(Kind.REQUEST, number, b"".join(map(bytes, pack(["/echo", bytes(1 << 20)]))))
        for n in range(50):
            assert 2 * n == await asyncio.wait_for(other.request("/double", n), 60)


async def test_answers_that_nobody_reads_do_not_fill_the_memory_and_their_reader_is_cut(
    held: Held, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SocketServer(held.app, path=path, stall_seconds=0.5, max_requests=4), Raw(path) as raw:
        raw.say(greeting(1 << 30))
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads

        async def large(x: int) -> bytes:
            held.seen["large"] += 1
            return bytes(4_000_000)

        held.app.add_route("/large", large)
        for number in range(1, 101):
            raw.send(Kind.REQUEST, number, b"".join(map(bytes, pack(["/large", 1]))))
        await until(lambda: "took nothing for 0.5 s of what was sent to it" in caplog.text)
    assert 4 == held.seen["large"]


async def test_many_large_requests_at_once_have_their_turns(server: SocketServer, path: Path) -> None:
    async with AsyncSocketClient(path=path) as client:
        arrays = [np.full(100_000, n) for n in range(60)]
        answers = await asyncio.gather(*(client.request("/echo", array) for array in arrays))
    assert [int(array[0]) for array in arrays] == [int(answer[-1]) for answer in answers]


async def test_a_request_that_is_cancelled_in_the_moment_it_comes_leaves_nothing(
    server: SocketServer, path: Path, held: Held
) -> None:
    async with Raw(path) as raw:
        raw.say(greeting(1 << 20))
        for number in range(300):
            raw.send(Kind.REQUEST, number, b"".join(pack(["/held", "x"])))
            raw.send(Kind.CANCEL, number)
        raw.send(Kind.REQUEST, 300, b"".join(pack(["/double", 4])))
        await asyncio.wait_for(raw.reader.readuntil(b"\x91\x08"), 60)
    await until(lambda: not server.tasks)


async def test_large_requests_and_answers_of_one_connection_are_kept_as_far_as_one_may_be_large(
    path: Path, held: Held
) -> None:
    limit = 1_200_000
    bodies = [bytes([n]) * 1_000_000 for n in range(12)]
    async with (
        SocketServer(held.app, path=path, max_bytes=limit),
        AsyncSocketClient(path=path, max_bytes=limit) as client,
    ):
        answers = await asyncio.gather(*(client.request("/echo", body) for body in bodies))
    assert bodies == answers
