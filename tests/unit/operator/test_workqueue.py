from __future__ import annotations

import asyncio

import pytest

from pillion_operator.reconcile.workqueue import Workqueue, backoff


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Workqueue[str]:
    return Workqueue(clock)


async def test_a_key_added_twice_is_worked_on_once(queue: Workqueue[str]) -> None:
    queue.add("a")
    queue.add("a")

    assert "a" == await queue.get()
    assert 0 == len(queue)


async def test_keys_come_in_the_order_of_their_arrival(queue: Workqueue[str]) -> None:
    for key in ("b", "a", "c"):
        queue.add(key)

    assert ["b", "a", "c"] == [await queue.get() for _ in range(3)]


async def test_a_key_in_work_is_not_given_to_a_second_worker(queue: Workqueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await queue.get()


async def test_a_key_added_while_in_work_comes_back_when_it_is_done(queue: Workqueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.done("a")

    assert "a" == await queue.get()


async def test_of_two_wishes_for_later_the_earlier_counts(queue: Workqueue[str], clock: Clock) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 2)
    queue.add_after("a", 30)
    clock.now = 3

    assert "a" == await queue.get()
    queue.done("a")
    clock.now = 100
    queue.add("b")
    assert "b" == await queue.get()
    assert 0 == len(queue)


async def test_work_on_a_key_voids_older_wishes_to_look_later(queue: Workqueue[str], clock: Clock) -> None:
    queue.add_after("a", 60)
    queue.add("a")
    await queue.get()
    queue.add_after("a", 90)
    queue.done("a")

    clock.now = 60
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await queue.get()
    clock.now = 90
    assert "a" == await queue.get()


async def test_a_failing_key_comes_back_ever_later_until_it_is_forgotten(queue: Workqueue[str], clock: Clock) -> None:
    waits = []
    for _ in range(4):
        waits.append(queue.retry("a"))
        clock.now += 100
        queue.done(await queue.get())
    queue.forget("a")

    assert [0.1, 0.2, 0.4, 0.8] == waits
    assert 0.1 == queue.retry("a")


async def test_the_server_may_ask_to_wait_longer(queue: Workqueue[str]) -> None:
    assert 7.0 == queue.retry("a", at_least=7.0)


async def test_a_waiting_worker_wakes_up_for_a_key_that_becomes_due() -> None:
    queue: Workqueue[str] = Workqueue(asyncio.get_running_loop().time)
    queue.add_after("a", 0.02)

    async with asyncio.timeout(60):
        assert "a" == await queue.get()


async def test_idle_is_reached_when_no_worker_holds_a_key(queue: Workqueue[str]) -> None:
    queue.add("a")
    await queue.get()
    waiting = asyncio.create_task(queue.idle())
    await asyncio.sleep(0)
    assert not waiting.done()

    queue.done("a")

    async with asyncio.timeout(60):
        await waiting


def test_backoff_never_passes_its_limit() -> None:
    assert 60.0 == backoff(10_000)
