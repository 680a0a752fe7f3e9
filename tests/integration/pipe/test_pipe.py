"""Two named pipes between two sides, most of them real processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pillion import pipe
from pillion.socket import ProtocolError
from pillion.socket.frames import greeting

if TYPE_CHECKING:
    from collections.abc import Iterator

_ECHO = """
import sys
from pillion import pipe

side = pipe.Client(sys.argv[1])
while True:
    what = side.recv()
    if isinstance(what, str) and what == "bytes":
        side.send_bytes(side.recv_bytes())
    elif isinstance(what, str) and what == "end":
        side.send_bytes(b"last")
        break
    else:
        side.send(what)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p"


@pytest.fixture
def echo(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is the client and gives back what it gets."""
    with subprocess.Popen([sys.executable, "-c", _ECHO, path]) as process:
        yield process
        process.kill()


@pytest.fixture
def server(path: Path) -> Iterator[pipe.Server]:
    with pipe.Server(path) as side:
        yield side


@pytest.fixture
def pair(path: Path) -> Iterator[tuple[pipe.Server, pipe.Client]]:
    with pipe.Server(path) as one, pipe.Client(path) as other:
        yield one, other


def crossed(pair: tuple[pipe.Server, pipe.Client], data: bytes) -> bytes:
    """A message through a pair of one process: a large one is written and read at the same time."""
    sending = threading.Thread(target=pair[0].send_bytes, args=(data,), kwargs={"timeout": 20})
    sending.start()
    got = pair[1].recv_bytes(timeout=60)
    sending.join()
    return got


def test_values_and_arrays_go_there_and_back(echo: subprocess.Popen[bytes], server: pipe.Server) -> None:
    array = np.random.default_rng(0).random((500, 300))
    for value in (None, 1, "text", {"a": [1, b"x"]}):
        server.send(value, timeout=30)
        assert value == server.recv(timeout=60)
    server.send(array)
    np.testing.assert_array_equal(array, server.recv(timeout=60))


def test_either_side_may_come_first(path: Path) -> None:
    with pipe.Client(path) as client:
        with pytest.raises(TimeoutError):
            client.send(1, timeout=0.05)
        with pipe.Server(path) as server:
            client.send(2, timeout=60)
            assert 2 == server.recv(timeout=60)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65536, 65537, 5_000_000])
def test_boundaries_are_kept_at_any_size(pair: tuple[pipe.Server, pipe.Client], size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert data == crossed(pair, data)
    assert b"next" == crossed(pair, b"next")


def test_many_small_messages_stay_apart(pair: tuple[pipe.Server, pipe.Client]) -> None:
    one, other = pair
    for n in range(200):
        one.send_bytes(bytes(n))
    assert list(range(200)) == [len(other.recv_bytes(timeout=60)) for _ in range(200)]


def test_parts_of_buffers_are_sent_and_filled(pair: tuple[pipe.Server, pipe.Client]) -> None:
    one, other = pair
    one.send_bytes(b"0123456789", 2, 5)
    assert b"23456" == other.recv_bytes(timeout=60)
    one.send_bytes(np.arange(3, dtype="<i4").data, offset=4)
    buf = bytearray(12)
    assert 8 == other.recv_bytes_into(buf, 3, timeout=60)
    assert bytes(3) + np.array([1, 2], dtype="<i4").tobytes() + bytes(1) == buf


@pytest.mark.parametrize(("offset", "size"), [(11, None), (-1, None), (5, 6), (0, -1)])
def test_what_lies_outside_of_a_buffer_is_refused(
    pair: tuple[pipe.Server, pipe.Client], offset: int, size: int | None
) -> None:
    with pytest.raises(ValueError, match="lie outside of a buffer of 10 bytes"):
        pair[0].send_bytes(bytes(10), offset, size)


def test_one_that_is_too_long_is_an_error_and_still_the_next(pair: tuple[pipe.Server, pipe.Client]) -> None:
    one, other = pair
    one.send_bytes(b"0123456789")
    one.send_bytes(b"after")
    with pytest.raises(pipe.MessageTooLongError, match="has 10 bytes, and there is room for 9") as failure:
        other.recv_bytes(9, timeout=60)
    assert 10 == failure.value.size
    with pytest.raises(pipe.MessageTooLongError):
        other.recv_bytes_into(bytearray(12), 3, timeout=60)
    assert b"0123456789" == other.recv_bytes(10, timeout=60)
    assert b"after" == other.recv_bytes(timeout=60)


def test_values_and_bytes_are_told_apart_and_not_lost(pair: tuple[pipe.Server, pipe.Client]) -> None:
    one, other = pair
    one.send_bytes(b"x")
    with pytest.raises(ProtocolError, match=r"to be asked for by recv_bytes\(\)"):
        other.recv(timeout=60)
    assert b"x" == other.recv_bytes(timeout=60)


def test_nothing_in_time_is_a_time_out_and_what_had_come_is_kept(pair: tuple[pipe.Server, pipe.Client]) -> None:
    one, other = pair
    for seconds in (0, 0.05):
        with pytest.raises(TimeoutError, match=f"within {seconds:g} s"):
            other.recv(timeout=seconds)
    one.send(1)
    assert 1 == other.recv(timeout=0)


def test_a_message_that_came_half_in_time_comes_whole_later(pair: tuple[pipe.Server, pipe.Client]) -> None:
    one, other = pair
    data = bytes(3_000_000)
    sending = threading.Thread(target=one.send_bytes, args=(data,))
    sending.start()
    timed_out = 0
    while True:
        try:
            got = other.recv_bytes(timeout=0.0005)
            break
        except TimeoutError:
            timed_out += 1
    sending.join()
    assert data == got


def test_a_send_that_is_cut_in_its_middle_ends_the_channel(pair: tuple[pipe.Server, pipe.Client]) -> None:
    one, other = pair
    with pytest.raises(TimeoutError):
        one.send_bytes(bytes(3_000_000), timeout=0.1)
    with pytest.raises(EOFError):
        other.recv_bytes(timeout=60)
    with pytest.raises(EOFError, match="this side of the pipe is closed"):
        one.send_bytes(b"x", timeout=60)


# --- the end of the other side


def test_a_side_that_is_killed_is_an_end_of_file(echo: subprocess.Popen[bytes], server: pipe.Server) -> None:
    server.send(1, timeout=30)
    assert 1 == server.recv(timeout=60)
    threading.Timer(0.2, echo.send_signal, (signal.SIGKILL,)).start()
    with pytest.raises(EOFError):
        server.recv(timeout=60)
    with pytest.raises(EOFError):
        server.send(bytes(1_000_000), timeout=60)


def test_what_was_sent_before_the_end_comes_before_it(echo: subprocess.Popen[bytes], server: pipe.Server) -> None:
    server.send("end", timeout=30)
    assert 0 == echo.wait(60)
    assert b"last" == server.recv_bytes(timeout=60)
    with pytest.raises(EOFError):
        server.recv(timeout=60)


def test_so_does_what_was_sent_before_anybody_asked(path: Path) -> None:
    with pipe.Server(path) as server:
        with pipe.Client(path) as client:
            client.send("gone")
        assert "gone" == server.recv(timeout=60)
        with pytest.raises(EOFError):
            server.recv(timeout=60)


def test_one_that_dies_without_a_word_is_an_end_of_file_too(path: Path) -> None:
    with pipe.Server(path) as server:
        silent = subprocess.Popen(
            [sys.executable, "-c", f"from pillion import pipe; p = pipe.Client({str(path)!r}); input()"],
            stdin=subprocess.PIPE,
        )
        server.send(1, timeout=30)
        threading.Timer(0.2, silent.kill).start()
        with pytest.raises(EOFError):
            server.recv(timeout=60)
        silent.communicate()


def test_a_send_that_waits_for_room_ends_with_its_reader(echo: subprocess.Popen[bytes], server: pipe.Server) -> None:
    server.send("bytes", timeout=30)
    echo.send_signal(signal.SIGSTOP)
    threading.Timer(0.2, echo.send_signal, (signal.SIGKILL,)).start()
    with pytest.raises(EOFError):
        server.send_bytes(bytes(10_000_000), timeout=60)


# --- files


def test_the_pipes_are_for_nobody_else_and_are_removed_by_the_server(path: Path) -> None:
    with pipe.Server(path):
        for suffix in (".1", ".2"):
            assert 0o600 == stat.S_IMODE(Path(f"{path}{suffix}").stat().st_mode)
    assert [] == list(path.parent.iterdir())


def test_stale_ones_of_ours_are_used_again(path: Path) -> None:
    for suffix in (".1", ".2"):
        os.mkfifo(f"{path}{suffix}", 0o600)
    with pipe.Server(path) as server, pipe.Client(path) as client:
        server.send(1)
        assert 1 == client.recv(timeout=60)


def test_a_second_server_is_refused(pair: tuple[pipe.Server, pipe.Client], path: Path) -> None:
    with pytest.raises(FileExistsError, match="another program reads from it"):
        pipe.Server(path)
    pair[0].send(1)
    assert 1 == pair[1].recv(timeout=60)


def test_what_is_no_pipe_of_ours_is_refused(path: Path) -> None:
    Path(f"{path}.1").write_text("precious")
    with pytest.raises(FileExistsError, match="no named pipe"):
        pipe.Server(path)
    assert "precious" == Path(f"{path}.1").read_text()


def test_one_that_others_may_open_is_refused(path: Path) -> None:
    os.mkfifo(f"{path}.2", 0o600)
    Path(f"{path}.2").chmod(0o666)
    with pytest.raises(FileExistsError, match="other users may open it: remove it, or chmod 600"):
        pipe.Client(path)


def test_one_that_holds_what_is_for_somebody_else_is_refused(path: Path) -> None:
    os.mkfifo(f"{path}.2", 0o600)
    held = os.open(f"{path}.2", os.O_RDWR)
    os.write(held, b"not yours")
    with pytest.raises(FileExistsError, match="9 bytes for somebody else are in it"):
        pipe.Server(path)
    os.close(held)


def test_one_that_is_greeted_while_it_opens_is_taken(path: Path) -> None:
    os.mkfifo(f"{path}.1", 0o600)
    held = os.open(f"{path}.1", os.O_RDWR)  # a server that wrote as soon as it saw a reader
    os.write(held, greeting(1000))
    with pipe.Client(path), pytest.raises(FileExistsError, match="another program reads from it"):
        pipe.Client(path)
    os.close(held)


def test_a_place_where_no_pipe_can_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing/pipe\.1"):
        pipe.Server(tmp_path / "missing" / "pipe")
    with pytest.raises(ValueError, match="path is empty"):
        pipe.Client("")


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "other", 0o600)
    Path(f"{path}.1").symlink_to(tmp_path / "other")
    with pytest.raises(FileExistsError, match="no named pipe"):
        pipe.Server(path)


def test_a_client_that_waits_meets_the_next_server(path: Path) -> None:
    with pipe.Client(path) as client:
        pipe.Server(path).close()
        with pipe.Server(path) as server:
            client.send(3, timeout=60)
            assert 3 == server.recv(timeout=60)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"x" * 40, "does not speak this protocol"),
        (b"PILLSOCK\x09\x00" + bytes(14), "version 9 of the protocol"),
        (b"PILLSOCK\x01\x00" + bytes(14) + b"\xff" * 9, "the channel ends"),
    ],
)
def test_garbage_is_told(path: Path, said: bytes, told: str) -> None:
    with pipe.Server(path) as server:
        # A reader of the one and a writer of the other pipe, as a client is.
        held = [os.open(f"{path}.1", os.O_RDONLY | os.O_NONBLOCK), os.open(f"{path}.2", os.O_WRONLY)]
        os.write(held[1], said)
        with pytest.raises(ProtocolError, match=told):
            server.recv(timeout=60)
        for descriptor in held:
            os.close(descriptor)


# --- with an event loop


async def test_all_of_it_can_be_awaited(pair: tuple[pipe.Server, pipe.Client]) -> None:
    one, other = pair
    data = random.Random(0).randbytes(2_000_000)
    sent, got = await asyncio.gather(one.asend_bytes(data), other.arecv_bytes(timeout=60))
    assert (None, data) == (sent, got)
    value: dict[str, Any] = {"a": 1}
    receiving = asyncio.create_task(one.arecv(timeout=60))
    await asyncio.sleep(0)
    await other.asend(value)
    assert value == await receiving
    await one.asend_bytes(b"abc")
    buf = bytearray(4)
    assert 3 == await other.arecv_bytes_into(buf, 1)
    assert b"\0abc" == buf
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        await other.arecv(timeout=0.05)
    assert 30 > time.monotonic() - began
    waiting = asyncio.create_task(other.arecv())
    await asyncio.sleep(0.02)
    one.close()
    with pytest.raises(EOFError):
        await asyncio.wait_for(waiting, 60)
