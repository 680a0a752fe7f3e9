"""Many calls at once, in order."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING

import pytest

from pillion.client import ordered, ordered_async
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


def failing_at_three(x: int) -> int:
    if x == 3:
        raise ValueError("three")
    return 10 * x


async def awaited(x: int) -> int:
    return failing_at_three(x)


def breaking(good: int) -> Iterator[int]:
    yield from range(good)
    raise OSError("the input broke")


def test_results_come_in_the_order_of_the_inputs_whatever_call_ends_first() -> None:
    second = threading.Event()

    def call(x: int) -> int:
        if x == 0:
            assert second.wait(60)
        else:
            second.set()
        return x

    assert [0, 1] == list(ordered(call, [0, 1]))


def test_pairs_and_exceptions_are_given_where_they_are_asked_for() -> None:
    found = list(ordered(failing_at_three, range(2, 5), return_x=True, return_exceptions=True))
    assert [(2, 20), (4, 40)] == [found[0], found[2]]
    assert (3, "three") == (found[1][0], str(found[1][1]))
    with pytest.raises(ValueError, match="three"):
        list(ordered(failing_at_three, range(5)))


def test_inputs_are_taken_as_results_are_read() -> None:
    taken: list[int] = []

    def inputs() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = ordered(lambda x: x, inputs(), concurrency=4)
    assert [] == taken
    assert [0, 1] == [next(results), next(results)]
    assert 6 > len(taken)


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_a_failure_of_the_inputs_ends_it_after_what_came_before(return_exceptions: bool) -> None:  # noqa: FBT001 - a parameter of the test
    found: list[int] = []
    with pytest.raises(OSError, match="the input broke"):
        found.extend(ordered(lambda x: x, breaking(3), return_exceptions=return_exceptions))
    results = ordered(lambda x: x, breaking(3), return_exceptions=return_exceptions)
    assert [0, 1, 2] == [next(results) for _ in range(3)]


def test_a_call_that_is_late_is_an_error_of_its_item() -> None:
    over = threading.Event()
    try:
        found = list(
            ordered(lambda x: over.wait(100) if x else x, [0, 1, 0], timeout=1.5, return_exceptions=True)
        )  # fmt: skip
    finally:
        over.set()
    assert [0, 0] == [found[0], found[2]]
    assert isinstance(found[1], TimeoutError)
    assert "1.5 s" in str(found[1])


@pytest.mark.parametrize("call", [str, failing_at_three])
def test_a_failure_keeps_nothing_alive(call: Callable[[int], object]) -> None:
    class Kept:
        pass

    def fails() -> weakref.ref[Kept]:
        kept = Kept()
        with pytest.raises((OSError, ValueError)):
            list(ordered(call, breaking(4)))
        return weakref.ref(kept)

    gc.disable()
    try:
        assert fails()() is None
    finally:
        gc.enable()


def test_no_calls_at_once_is_refused_before_the_first_result_is_asked_for() -> None:
    with pytest.raises(ValueError, match="concurrency"):
        ordered(str, [], concurrency=0)


async def test_the_asynchronous_one_keeps_order_pairs_and_exceptions() -> None:
    found = [pair async for pair in ordered_async(awaited, range(2, 5), return_x=True, return_exceptions=True)]
    assert [(2, 20), (4, 40)] == [found[0], found[2]]
    assert (3, "three") == (found[1][0], str(found[1][1]))
    with pytest.raises(ValueError, match="three"):
        [x async for x in ordered_async(awaited, range(5))]


async def test_asynchronous_inputs_that_fail_end_it_after_what_came_before() -> None:
    async def inputs() -> AsyncIterator[int]:
        yield 1
        raise OSError("the input broke")

    results = ordered_async(awaited, inputs(), return_exceptions=True)
    assert 10 == await anext(results)
    with pytest.raises(OSError, match="the input broke"):
        await anext(results)


async def test_leaving_early_cancels_the_calls_in_progress() -> None:
    cancelled: list[int] = []

    async def call(x: int) -> int:
        try:
            await asyncio.sleep(0 if x == 0 else 60)
        except asyncio.CancelledError:
            cancelled.append(x)
            raise
        return x

    results = ordered_async(call, range(3), concurrency=3)
    assert 0 == await anext(results)
    await results.aclose()  # type: ignore[attr-defined] # an asynchronous generator
    assert [1, 2] == cancelled


async def test_an_asynchronous_call_that_is_late_is_cancelled() -> None:
    async def call(x: int) -> int:
        await asyncio.sleep(60 * x)
        return x

    found = [x async for x in ordered_async(call, [0, 1], timeout=0.5, return_exceptions=True)]
    assert 0 == found[0]
    assert isinstance(found[1], TimeoutError)


def test_leaving_early_begins_no_other_call() -> None:
    begun: list[int] = []
    results = ordered(begun.append, range(100), concurrency=2)
    next(results)
    results.close()  # type: ignore[attr-defined] # a generator
    until_now(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("pillion-stream")])
    assert 4 > len(begun)
