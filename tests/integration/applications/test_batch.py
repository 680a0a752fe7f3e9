"""``@pillion.batch``: callers with one item each, and the calls that serve several of them."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import httpx
import pytest

import pillion
from pillion import Model, task
from tests.waiting import until


class Squares:
    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.go = asyncio.Event()
        self.cancelled = 0

    @pillion.batch(max_batch_size=4)
    async def square(self, numbers: list[int]) -> list[Any]:
        self.calls.append(numbers)
        return [ValueError(f"{n} is odd") if n % 2 else n * n for n in numbers]

    @pillion.batch(max_batch_size=4)
    async def slow(self, numbers: list[int]) -> list[int]:
        self.calls.append(numbers)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return numbers

    @pillion.batch(max_batch_size=10, wait=0.2)
    async def patient(self, numbers: list[int]) -> list[int]:
        self.calls.append(numbers)
        return numbers


async def test_items_of_one_turn_share_a_call_and_each_has_its_own_result_or_error() -> None:
    squares = Squares()
    results = await asyncio.gather(*(squares.square(n) for n in range(6)), return_exceptions=True)
    assert [[0, 1, 2, 3], [4, 5]] == squares.calls
    assert [0, 4, 16] == results[::2]
    assert ["1 is odd", "3 is odd", "5 is odd"] == [str(error) for error in results[1::2]]


async def test_items_gather_while_a_call_runs() -> None:
    squares = Squares()
    first = asyncio.create_task(squares.slow(0))
    await until(lambda: squares.calls == [[0]])
    others = [asyncio.create_task(squares.slow(n)) for n in range(1, 6)]
    await asyncio.sleep(0)
    assert [[0]] == squares.calls
    squares.go.set()
    assert [0, 1, 2, 3, 4, 5] == [*await asyncio.gather(first, *others)]
    assert [[0], [1, 2, 3, 4], [5]] == squares.calls


async def test_the_first_waits_its_time_for_others_and_no_longer() -> None:
    squares = Squares()
    began = time.monotonic()
    first = asyncio.create_task(squares.patient(1))
    for _ in range(3):  # it waits by now: a call without a wait would have begun
        await asyncio.sleep(0)
    assert [1, 2] == [*await asyncio.gather(first, squares.patient(2))]
    assert [[1, 2]] == squares.calls
    assert 0.15 < time.monotonic() - began


async def test_a_caller_that_leaves_takes_only_its_own_item_away() -> None:
    squares = Squares()
    running = [asyncio.create_task(squares.slow(n)) for n in range(2)]
    await until(lambda: squares.calls == [[0, 1]])
    waiting = [asyncio.create_task(squares.slow(n)) for n in (2, 3)]
    await asyncio.sleep(0)
    running[0].cancel()
    waiting[0].cancel()
    await asyncio.sleep(0)
    squares.go.set()
    assert [1, 3] == [*await asyncio.gather(running[1], waiting[1])]
    assert ([[0, 1], [3]], 0) == (squares.calls, squares.cancelled)


async def test_a_call_that_nobody_waits_for_any_more_is_cancelled() -> None:
    squares = Squares()
    running = [asyncio.create_task(squares.slow(n)) for n in range(2)]
    await until(lambda: squares.calls == [[0, 1]])
    for caller in running:
        caller.cancel()
    await until(lambda: squares.cancelled == 1)
    squares.go.set()
    assert 5 == await squares.slow(5)


@pytest.mark.parametrize(
    ("results", "said"),
    [([1], "given 2 items and returned 1 results"), ("ab", "not a str"), (7, "not a int"), ({}, "not a dict")],
)
async def test_results_that_are_no_list_of_one_for_each_are_told(results: object, said: str) -> None:
    @pillion.batch
    async def wrong(_: list[int]) -> Any:
        return results

    for outcome in await asyncio.gather(wrong(1), wrong(2), return_exceptions=True):
        assert isinstance(outcome, TypeError)
        assert said in str(outcome)


async def test_instances_do_not_share_calls_and_are_not_kept() -> None:
    one, other = Squares(), Squares()
    await asyncio.gather(one.square(2), other.square(4))
    assert ([[2]], [[4]]) == (one.calls, other.calls)
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


def test_what_cannot_be_batched_is_told_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="goes around an async function"):
        pillion.batch(lambda numbers: numbers)
    with pytest.raises(ValueError, match="max_batch_size"):
        pillion.batch(max_batch_size=0)
    with pytest.raises(ValueError, match="wait"):
        pillion.batch(wait=-1)


class Mood(Model):
    @task
    def classify(self, text: str) -> str:
        return "positive" if "good" in text else "negative"


class Front:
    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = asyncio.Event()

    @pillion.batch(max_batch_size=8)
    async def moods(self, texts: list[str]) -> list[str]:
        self.sizes.append(len(texts))
        await self.go.wait()
        return [await pillion.models["mood"].task("classify", text=text) for text in texts]

    async def __call__(self, request: pillion.Request) -> object:
        return await self.moods(request.query_params["text"])


async def test_a_client_that_leaves_and_one_whose_time_is_up_do_not_end_the_call_of_the_others() -> None:
    async with pillion.test(Front, Mood) as tester:
        front = tester.instance
        with pytest.raises(httpx.ReadTimeout):
            await tester.get("/?text=first", timeout=1)  # alone in its call, which ends with it
        stays = [asyncio.create_task(tester.get(f"/?text={text}")) for text in ("good", "bad")]
        leaves = asyncio.create_task(tester.get("/?text=bad", timeout=1))
        late = asyncio.create_task(tester.get("/?text=bad", headers={"x-request-timeout-seconds": "1"}))
        assert 504 == (await late).status_code
        with pytest.raises(httpx.ReadTimeout):
            await leaves
        front.go.set()
        assert ["positive", "negative"] == [(await one).text for one in stays]
        assert [1, 4] == front.sizes
