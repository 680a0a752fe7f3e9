"""Results on their way from the code that makes them to the one who reads them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pillion.execution.api import DeadlinePassedError
from pillion.execution.mixed import MixedExecutor
from pillion.execution.stream import ItemBuffer, StreamRun
from pillion.execution.thread import ThreadExecutor
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

MANY = 1000


class Counting:
    """Gives numbers, and knows how many it has made and how it ended."""

    def __init__(self, count: int, *, asynchronous: bool = False, fails: bool = False) -> None:
        self.count = count
        self.asynchronous = asynchronous
        self.fails = fails
        self.made = 0
        self.threads: set[int] = set()
        self.ended = ""

    def _numbers(self) -> Generator[Any]:
        try:
            for number in range(self.count):
                self.threads.add(threading.get_ident())
                self.made += 1
                yield number
            if self.fails:
                raise ValueError("no more")
            self.ended = "complete"
        except GeneratorExit:
            self.ended = "closed"
            raise
        finally:
            self.threads.add(threading.get_ident())

    def run(self, put: Callable[[Any], bool]) -> None:
        with contextlib.closing(self._numbers()) as items:
            for item in items:
                if not put(item):
                    break

    async def items_async(self) -> AsyncIterator[Any]:
        try:
            for number in range(self.count):
                self.made += 1
                yield number
                await asyncio.sleep(0)
            self.ended = "complete"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


def begin(source: Counting, seconds: float | None = None) -> tuple[ItemBuffer, asyncio.Task[Any], MixedExecutor]:
    buffer = ItemBuffer(asyncio.get_running_loop(), 4)
    executor = MixedExecutor(ThreadExecutor("stream", 1))
    driver = asyncio.create_task(executor.run(StreamRun(source, buffer), (), (), seconds))
    driver.add_done_callback(lambda done: buffer.end(None if done.cancelled() else _failure(done)))
    return buffer, driver, executor


def _failure(done: asyncio.Task[Any]) -> Exception | None:
    error = done.exception()
    return error if isinstance(error, Exception) else None


async def all_of(buffer: ItemBuffer) -> list[Any]:
    found: list[Any] = []
    while items := await buffer.take():
        found += items
    return found


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_every_item_arrives_once_and_in_order(*, asynchronous: bool) -> None:
    source = Counting(MANY, asynchronous=asynchronous)
    buffer, _, executor = begin(source)
    assert list(range(MANY)) == await all_of(buffer)
    assert "complete" == source.ended
    executor.close()


async def test_a_sync_generator_stays_in_one_thread_from_beginning_to_end() -> None:
    source = Counting(MANY)
    buffer, _, executor = begin(source)
    await all_of(buffer)
    assert 1 == len(source.threads)
    executor.close()


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_reader_who_waits_makes_the_code_wait(*, asynchronous: bool) -> None:
    source = Counting(MANY, asynchronous=asynchronous)
    buffer, _, executor = begin(source)
    await until(lambda: source.made == 5)  # four in the buffer, one in hand
    for _ in range(50):
        await asyncio.sleep(0)
    assert 5 == source.made
    assert [0, 1, 2, 3] == await buffer.take()
    await all_of(buffer)
    executor.close()


@pytest.mark.parametrize(("asynchronous", "ended"), [(False, "closed"), (True, "cancelled")])
async def test_code_whose_reader_leaves_is_told_between_two_items(*, asynchronous: bool, ended: str) -> None:
    source = Counting(MANY, asynchronous=asynchronous)
    buffer, driver, executor = begin(source)
    await buffer.take()
    driver.cancel()
    await until(lambda: source.ended == ended)
    await until(lambda: executor.abandoned == 0)
    assert source.made < 20
    executor.close()


async def test_code_that_waits_for_room_ends_at_the_deadline() -> None:
    source = Counting(MANY)
    buffer, _, executor = begin(source, seconds=0.05)
    await until(lambda: source.ended == "closed")
    with pytest.raises(DeadlinePassedError):
        await all_of(buffer)
    await until(lambda: executor.abandoned == 0)
    executor.close()


async def test_what_was_made_before_a_failure_is_read_before_it() -> None:
    buffer, _, executor = begin(Counting(3, fails=True))
    await until(lambda: executor.abandoned == 0 and not buffer.open)
    assert [0, 1, 2] == await buffer.take()
    with pytest.raises(ValueError, match="no more"):
        await buffer.take()
    executor.close()


async def test_async_code_is_cancelled_also_where_its_readers_leaving_is_seen_first() -> None:
    source = Counting(MANY, asynchronous=True)
    buffer, _, executor = begin(source)
    await buffer.take()
    buffer.close()
    await until(lambda: source.ended == "cancelled")
    executor.close()
