"""``astream``: ordered answers to many values, with an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import pillion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


async def slower_first(x: int) -> int:
    await asyncio.sleep(0.02 / (x + 1))
    if x == 2:
        raise ValueError("two")
    return 10 * x


def same(x: int) -> int:
    return x


async def test_answers_are_in_order_with_their_inputs_and_exceptions() -> None:
    async with pillion.Sequential(slower_first, same) as flow:
        found = [pair async for pair in flow.astream(range(4), return_x=True, return_exceptions=True)]
    assert [(0, 0), (1, 10), (3, 30)] == [(x, y) for x, y in found if not isinstance(y, Exception)]
    assert "two" == str(found[2][1])


async def test_the_first_exception_ends_it_unless_they_are_asked_for() -> None:
    async with pillion.Sequential(slower_first, same) as flow:
        stream = flow.astream([0, 2, 3])
        assert 0 == await anext(stream)
        with pytest.raises(ValueError, match="two"):
            await anext(stream)


async def test_answers_come_while_the_input_waits_and_its_error_ends_them() -> None:
    more = asyncio.Event()

    async def inputs() -> AsyncIterator[int]:
        yield 0
        await more.wait()
        raise OSError("the disk is on fire")

    async with pillion.Sequential(slower_first, same) as flow:
        stream = flow.astream(inputs(), return_exceptions=True)
        assert 0 == await asyncio.wait_for(anext(stream), 60)
        more.set()
        with pytest.raises(OSError, match="the disk is on fire"):
            await anext(stream)


async def test_it_reads_no_further_ahead_than_its_concurrency() -> None:
    read: list[int] = []

    def inputs() -> Iterator[int]:
        for n in range(3, 100):
            read.append(n)
            yield n

    async with pillion.Sequential(slower_first, same) as flow:
        stream = flow.astream(inputs(), concurrency=3)
        assert 30 == await anext(stream)
        await asyncio.sleep(0.02)
        assert 4 >= len(read)
        await stream.aclose()
        with pytest.raises(ValueError, match="concurrency=0"):
            await anext(flow.astream([1], concurrency=0))
