"""Values on their way to a method: large ones one at a time."""

from __future__ import annotations

import asyncio

import pytest

from pillion.execution.inbound import Inbound
from tests.waiting import until


@pytest.mark.parametrize("in_a_thread", [False, True])
async def test_a_value_counts_until_its_reader_comes_for_the_next(in_a_thread: bool) -> None:  # noqa: FBT001 - a parameter of the test
    inbound = Inbound()
    used: list[int] = []
    may_end = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for value in inbound:
            used.append(value)
            asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result()

    async def read_here() -> None:
        async for value in inbound:
            used.append(value)
            await may_end.wait()

    reading = asyncio.create_task(asyncio.to_thread(read) if in_a_thread else read_here())
    putting = asyncio.create_task(inbound.put(1, until_used=True))
    await until(lambda: used == [1])
    assert not putting.done()
    may_end.set()
    assert await putting
    assert await inbound.put(2)
    inbound.end()
    await reading
    assert [1, 2] == used


async def test_nobody_waits_for_a_reader_that_has_left() -> None:
    inbound = Inbound()
    putting = asyncio.create_task(inbound.put(1, until_used=True))
    await asyncio.sleep(0)
    assert not putting.done()
    inbound.close()
    assert not await putting


async def test_a_reader_that_gave_up_waiting_is_not_waited_for() -> None:
    inbound = Inbound()
    waits: list[float | None] = [inbound.awaited_since]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(inbound), 0.01)
    waits.append(inbound.awaited_since)  # it does something else now
    before = asyncio.get_running_loop().time()
    reading = asyncio.ensure_future(anext(inbound))
    await asyncio.sleep(0)
    since = inbound.awaited_since
    await inbound.put(1)

    assert 1 == await reading
    assert since is not None
    assert before <= since
    assert [None, None, None] == [*waits, inbound.awaited_since]
