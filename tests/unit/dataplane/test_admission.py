from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from pillion.dataplane.admission import Admission
from pillion.dataplane.rate import ServiceRate
from pillion.dataplane.standing import ShedWhen
from pillion.errors import ErrorCode, PillionError


def gate(capacity: int = 1, max_queue: int = 2) -> Admission:
    return Admission("m/1", capacity, max_queue, time.monotonic)


async def queue(admission: Admission, deadline: float | None = None) -> asyncio.Task[None]:
    task = asyncio.ensure_future(admission.enter(deadline))
    await asyncio.sleep(0)
    return task


def busy(admission: Admission) -> Admission:
    while admission.try_enter():
        pass
    return admission


def test_free_slots_are_taken_at_once_up_to_the_capacity() -> None:
    admission = gate(capacity=2)
    assert [True, True, False] == [admission.try_enter() for _ in range(3)]
    admission.leave()
    assert admission.try_enter()


async def test_the_queue_is_served_in_the_order_of_arrival() -> None:
    admission = busy(gate())
    order: list[int] = []

    async def wait(number: int) -> None:
        await admission.enter(None)
        order.append(number)
        admission.leave()

    tasks = [asyncio.ensure_future(wait(number)) for number in range(2)]
    await asyncio.sleep(0)
    admission.leave()
    await asyncio.gather(*tasks)
    assert order == [0, 1]
    assert (0, 0) == (admission.running, admission.queued)


async def test_nobody_overtakes_those_who_wait() -> None:
    admission = busy(gate(capacity=2, max_queue=5))
    first = await queue(admission)
    admission.leave()
    assert not admission.try_enter()
    await first
    assert admission.running == 2


async def test_everybody_who_waits_can_be_admitted_at_once() -> None:
    admission = busy(gate(capacity=1, max_queue=5))
    waiting = [await queue(admission) for _ in range(3)]
    waiting[1].cancel()
    await asyncio.sleep(0)
    admission.leave()
    admission.admit_waiting()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (2, 0) == (admission.running, admission.queued)


async def test_one_more_than_the_queue_holds_is_turned_away_at_once_naming_the_limit() -> None:
    admission = busy(gate(max_queue=1))
    waiting = await queue(admission)
    with pytest.raises(PillionError, match=r"1 requests are running and 1 are waiting.*execution\.maxQueue 1") as full:
        await admission.enter(None)
    assert full.value.code is ErrorCode.QUEUE_FULL
    admission.leave()
    await waiting


async def test_retry_after_is_the_time_the_queue_needs_at_the_rate_seen() -> None:
    admission = busy(gate(capacity=2, max_queue=3))
    for _ in range(10):
        admission.rate.add(4.0)
    waiting = [await queue(admission) for _ in range(3)]
    assert admission.queue_full().retry_after == pytest.approx(8.0)
    admission.fail_waiting(admission.queue_full)
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_retry_after_stays_within_bounds() -> None:
    admission = busy(gate(max_queue=0))
    assert admission.queue_full().retry_after == pytest.approx(0.1)
    admission.rate.add(1000.0)
    assert admission.queue_full().retry_after == pytest.approx(60.0)


async def test_a_deadline_ends_the_wait_and_frees_the_place() -> None:
    admission = busy(gate())
    with pytest.raises(PillionError) as expired:
        await admission.enter(time.monotonic() + 0.01)
    assert expired.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert (1, 0) == (admission.running, admission.queued)


async def test_a_deadline_that_cannot_be_met_is_refused_at_once_rather_than_kept_waiting() -> None:
    admission = busy(gate(max_queue=10))
    for _ in range(10):
        admission.rate.add(5.0)
    with pytest.raises(PillionError, match=r"sooner than the 5\.00 s they need") as refused:
        await admission.enter(time.monotonic() + 1)
    assert refused.value.code is ErrorCode.QUEUE_FULL


async def test_a_rate_seen_too_rarely_turns_nobody_away() -> None:
    admission = busy(gate())
    admission.rate.add(1000.0)
    waiting = await queue(admission, time.monotonic() + 5)
    assert admission.queued == 1
    admission.leave()
    await waiting


async def test_a_cancelled_request_leaves_the_queue() -> None:
    admission = busy(gate())
    waiting = await queue(admission)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert (1, 0) == (admission.running, admission.queued)


async def test_a_slot_handed_to_a_request_that_is_cancelled_in_the_same_instant_is_passed_on() -> None:
    admission = busy(gate())
    first, second = await queue(admission), await queue(admission)
    admission.leave()
    first.cancel()
    await second
    assert first.cancelled()
    assert (1, 0) == (admission.running, admission.queued)
    admission.leave()
    assert admission.running == 0


async def test_a_thousand_cancellations_at_any_moment_leak_no_slot() -> None:
    admission = busy(gate(capacity=3, max_queue=1000))
    tasks = [await queue(admission) for _ in range(1000)]
    for number, task in enumerate(tasks):
        if number % 3 == 0:
            admission.leave()
        task.cancel()
        if number % 7 == 0:
            await asyncio.sleep(0)
        if number % 3 == 0:
            await asyncio.sleep(0)
            assert admission.try_enter() or admission.queued
    await asyncio.gather(*tasks, return_exceptions=True)
    assert admission.queued == 0
    assert admission.running <= 3
    while admission.running:
        admission.leave()
    assert admission.try_enter()


def test_the_service_rate_follows_slowly() -> None:
    rate = ServiceRate()
    rate.add(1.0)
    rate.add(2.0)
    assert rate.seconds == pytest.approx(1.1)
    assert rate.wait(ahead=4, capacity=2) == pytest.approx(2.2)


async def test_a_queue_that_stands_is_kept_short_where_that_is_asked_for() -> None:
    now = 0.0
    admission = busy(Admission("m/1", 1, 100, lambda: now, ShedWhen.STANDING))
    for _ in range(10):
        admission.rate.add(0.01)
    waiting = [await queue(admission) for _ in range(20)]
    now = 0.2
    with pytest.raises(PillionError, match=r"limits\.shed_when") as refusal:
        await admission.enter(None)
    assert ErrorCode.QUEUE_FULL is refusal.value.code
    assert refusal.value.retry_after
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
