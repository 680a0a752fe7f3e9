"""One front worker as its supervisor sees it, with programs in its place that do as the test says."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pillion.server.front import process as module
from pillion.server.front.channel import receive, send
from pillion.server.front.messages import FROM_SUPERVISOR, Ask, Begin, Drain
from pillion.server.front.process import FrontProcess
from pillion.server.settings import AuthSettings, Settings
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Started = Callable[[str], Coroutine[object, object, FrontProcess]]

BEGIN = Begin(number=0, settings=Settings(auth=AuthSettings(api_key="secret-key")), cpus=1, at_once=True)
_HEAD = """
import socket
import sys
import time

from pillion.server.front.channel import receive, send
from pillion.server.front.messages import *

connection = socket.socket(fileno=int(sys.argv[1]))
begin = receive(connection, FROM_SUPERVISOR)
"""


@pytest.fixture
def start(tmp_path: Path) -> Started:
    """Start a program as a worker."""

    async def started(body: str) -> FrontProcess:
        (tmp_path / "program.py").write_text(_HEAD + body)
        worker = FrontProcess(BEGIN, lambda: None)
        with closing(socket.socket()) as http:
            await worker.start("program", os.environ | {"PYTHONPATH": str(tmp_path)}, http)
        return worker

    return started


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_a_worker_whose_event_loop_is_stuck_is_killed(start: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEAT_SECONDS", 0.01)
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.01)
    worker = await start(
        "send(connection, Attached())\nsend(connection, Settled(ready=True, reason='', seconds=0.0))\ntime.sleep(60)\n"
    )
    how = await worker.ended()
    assert "was ended by SIGKILL" in how
    assert "has not answered" in how


async def test_one_that_loads_for_long_is_left_alone(start: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEAT_SECONDS", 0.001)
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.001)
    worker = await start("send(connection, Attached())\ntime.sleep(0.3)\nsys.exit(7)\n")
    assert "ended with status 7" == await worker.ended()


async def test_its_last_words_are_heard_after_its_end(start: Started) -> None:
    worker = await start("send(connection, Failed(code=4, message='no such certificate'))\n")
    assert "cannot start: no such certificate" == await worker.ended()


async def test_one_that_says_what_nobody_understands_is_ended(start: Started) -> None:
    worker = await start("connection.sendall(b'\\x01\\x00\\x00\\x00\\xc1')\ntime.sleep(60)\n")
    assert "cannot be read" in await worker.ended()


async def test_nobody_waits_for_the_drain_of_one_that_has_ended(start: Started) -> None:
    worker = await start("receive(connection, FROM_SUPERVISOR)\n")
    await worker.drain(deletion=True)
    assert "ended with status 0" == await worker.ended()


async def test_nobody_waits_for_the_drain_of_one_that_no_longer_listens(start: Started) -> None:
    worker = await start("send(connection, Failed(code=4, message='no'))\nconnection.close()\ntime.sleep(60)\n")
    await until(lambda: worker.failed is not None)
    async with asyncio.timeout(60):
        await worker.drain(deletion=True)
    worker.kill()
    await worker.ended()


async def test_one_that_is_told_to_end_while_it_is_started_ends(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(f"{_HEAD}time.sleep(60)\n")
    worker = FrontProcess(BEGIN, lambda: None)
    with closing(socket.socket()) as http:
        starting = asyncio.create_task(worker.start("program", os.environ | {"PYTHONPATH": str(tmp_path)}, http))
        await asyncio.sleep(0)
        worker.end("it was replaced")
        await starting
    try:
        async with asyncio.timeout(60):
            assert "ended by SIGTERM (it was replaced)" in await worker.ended()
    finally:
        worker.kill()


async def test_no_descriptor_is_left_of_one_that_has_ended(start: Started) -> None:
    before = open_files()
    await (await start("")).ended()
    await until(lambda: open_files() <= before)


async def test_secrets_are_not_on_the_command_line(start: Started) -> None:
    worker = await start("time.sleep(60)\n")
    assert b"secret-key" not in command_line(worker.pid)
    worker.kill()
    await worker.ended()


def test_messages_come_as_they_were_sent_whatever_pieces_they_come_in() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(ours, Ask(id=1, families=True))
        send(ours, Drain(id=2, deletion=False))
        assert Ask(id=1, families=True) == receive(theirs, FROM_SUPERVISOR)
        assert Drain(id=2, deletion=False) == receive(theirs, FROM_SUPERVISOR)
        ours.sendall(b"\x10\x00\x00\x00half")
        ours.close()
        with pytest.raises(EOFError):
            receive(theirs, FROM_SUPERVISOR)
