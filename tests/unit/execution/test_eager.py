"""Coroutines that are begun at once."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from pillion.execution.eager import eager

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="")


async def test_one_that_waits_for_nothing_has_its_result_at_once() -> None:
    async def answer() -> int:
        NAME.set("inside")
        return 4

    outer = asyncio.current_task()
    assert 4 == eager(answer())
    assert ("", outer) == (NAME.get(), asyncio.current_task())


async def test_its_failure_comes_at_once_as_well() -> None:
    async def fail() -> int:
        raise LookupError("none")

    with pytest.raises(LookupError):
        eager(fail())


async def test_one_that_waits_is_one_task_from_its_first_line_on() -> None:
    async def wait() -> tuple[object, object, str]:
        first = asyncio.current_task()
        NAME.set("inside")
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
        return first, asyncio.current_task(), NAME.get()

    task = eager(wait())
    assert isinstance(task, asyncio.Task)
    assert (task, task, "inside") == await task


async def test_a_timeout_entered_before_the_first_wait_ends_it() -> None:
    async def slow() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    task = eager(slow())
    assert isinstance(task, asyncio.Task)
    with pytest.raises(TimeoutError):
        await task


@pytest.mark.parametrize("turns", [0, 2])
async def test_one_that_is_cancelled_cleans_up(turns: int) -> None:
    ended = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = eager(slow())
    assert isinstance(task, asyncio.Task)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert [True] == ended
