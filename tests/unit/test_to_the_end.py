"""Work in threads is waited for, however often its task is cancelled."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pillion.to_the_end import to_the_end


async def test_a_task_that_is_cancelled_again_and_again_ends_after_its_work() -> None:
    begun, go_on, told = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    done: list[str] = []

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert told.wait(60)
        assert go_on.wait(100)
        done.append("written")

    task = asyncio.create_task(to_the_end(work, told))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["written"] == done


async def test_what_the_work_gives_or_raises_is_that_of_the_task() -> None:
    assert 3 == await to_the_end(lambda: 3)
    with pytest.raises(ValueError, match="x"):
        await to_the_end(lambda: int("x"))
