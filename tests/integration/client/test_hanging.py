"""Servers that take a connection and say nothing, and uploads that take their time."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import pillion
from pillion.client import CallError, DeadlineExceeded, uploads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 3_000_000


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


async def test_a_server_that_hangs_is_not_waited_for_longer_than_the_call_may_take(silent: str) -> None:
    with (
        pillion.Client(f"http://{silent}", timeout=0.3) as client,
        pytest.raises(DeadlineExceeded, match="no answer within"),
    ):
        client.models()
    async with pillion.AsyncClient(f"http://{silent}", timeout=0.3) as client_:
        with pytest.raises(DeadlineExceeded, match="no answer within"):
            await client_.models()


def test_a_proxy_that_hangs_is_not_waited_for_either(silent: str) -> None:
    with (
        pillion.Client("https://models.example", proxy=f"http://{silent}", timeout=0.3) as client,
        pytest.raises(DeadlineExceeded, match="no answer within"),
    ):
        client.models()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that is no model."""
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(SIZE))
    return path


class Clock:
    """A clock by which each piece that is sent takes longer than a whole call may."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.told: list[tuple[int, int]] = []

    def piece(self, sent: int, total: int) -> None:
        self.now += 1000.0
        self.told.append((sent, total))

    def require_whole(self) -> None:
        """All of it was told of, piece by piece."""
        assert len(self.told) > 2
        assert self.told == sorted(self.told)
        sent, total = self.told[-1]
        assert SIZE <= sent == total


def test_an_upload_may_take_longer_than_its_answer_and_tells_how_far_it_is(
    url: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(0.0)
    monkeypatch.setattr(uploads, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with pillion.Client(url) as client, pytest.raises(CallError) as refused:
        client.deploy("large", large, timeout=60.0, progress=clock.piece)
    assert not isinstance(refused.value, DeadlineExceeded)
    clock.require_whole()


def test_an_upload_from_a_loop_may_too(url: str, large: Path) -> None:
    loop = asyncio.new_event_loop()
    clock, real = Clock(0.0), loop.time
    loop.time = lambda: real() + clock.now  # type: ignore[method-assign] # the loop's clock, moved on by what is sent

    async def deploy() -> None:
        async with pillion.AsyncClient(url) as client:
            await client.deploy("large", large, timeout=60.0, progress=clock.piece)

    with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(CallError) as refused:
        runner.run(deploy())
    assert not isinstance(refused.value, DeadlineExceeded)
    clock.require_whole()
