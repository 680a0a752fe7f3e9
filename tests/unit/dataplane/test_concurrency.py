"""How many calls do well at a time is found out by how long they take."""

from __future__ import annotations

import asyncio
import heapq
import threading
import time

import pytest

from pillion.dataplane.admission import Admission
from pillion.dataplane.concurrency import ConcurrencyLimit

CALL = 0.01


class Service:
    """A model that does ``knee`` calls at a time well and divides its time among more, on a clock of its own.

    Every caller waits for its answer, and there are always enough of them.
    """

    def __init__(self, limit: ConcurrencyLimit, knee: float, call: float = CALL) -> None:
        self.limit = limit
        self.knee = knee
        self.call = call
        self.now = 0.0
        self.running: list[tuple[float, float]] = []
        self.seen: list[int] = []

    def serve(self, calls: int, callers: int = 1000) -> None:
        for _ in range(calls):
            while len(self.running) < min(self.limit.limit, callers):
                seconds = self.call * max(1.0, (len(self.running) + 1) / self.knee)
                heapq.heappush(self.running, (self.now + seconds, self.now))
            running = len(self.running)
            self.now, began = heapq.heappop(self.running)
            self.seen.append(self.limit.observe(self.now - began, running))

    def settled(self) -> float:
        later = self.seen[-500:]
        return sum(later) / len(later)


@pytest.mark.parametrize("knee", [1, 4, 16])
def test_the_limit_settles_near_what_the_model_does_well(knee: int) -> None:
    service = Service(ConcurrencyLimit(64), knee)
    service.serve(3000)
    assert knee <= service.settled() <= 2 * knee


def test_it_never_passes_the_fixed_limit_and_never_falls_below_one() -> None:
    service = Service(ConcurrencyLimit(8), 100)
    service.serve(2000)
    service.knee = 0.1
    service.serve(2000)
    assert (1, 8) == (min(service.seen), max(service.seen))


def test_a_limit_that_nobody_uses_up_does_not_grow() -> None:
    service = Service(ConcurrencyLimit(64), 100)
    service.serve(2000, callers=3)
    assert 4 >= max(service.seen)


def test_a_model_that_has_become_slower_for_good_is_measured_anew() -> None:
    service = Service(ConcurrencyLimit(64), 8)
    service.serve(2000)
    service.call = 5 * CALL
    service.serve(3000)
    assert 8 <= service.settled() <= 16


async def test_more_slots_are_handed_to_who_waits_and_fewer_are_taken_back_as_calls_end() -> None:
    admission = Admission("m/1", 8, 100, time.monotonic, adaptive=True)
    assert 1 == admission.capacity
    assert admission.try_enter()
    waiting = [asyncio.ensure_future(admission.enter(None)) for _ in range(4)]
    await asyncio.sleep(0)
    for _ in range(5):
        admission.rate.add(0.01)
    await asyncio.sleep(0)
    assert (2, 2, 3) == (admission.capacity, admission.running, admission.queued)
    for _ in range(8):  # some of them began while there was one slot
        admission.rate.add(0.1)
    assert 1 == admission.capacity
    admission.leave()
    assert (1, 3) == (admission.running, admission.queued)
    admission.leave()
    await asyncio.sleep(0)
    assert (1, 2) == (admission.running, admission.queued)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_calls_given_up_at_their_deadline_count_as_slow_ones() -> None:
    admission = Admission("m/1", 8, 100, time.monotonic, adaptive=True)
    admission.running = 1
    for _ in range(5):
        admission.rate.add(0.01)
    assert 2 == admission.capacity
    for _ in range(8):
        admission.rate.late(1.0)
    assert 1 == admission.capacity


async def test_threads_that_share_two_of_something_are_let_in_about_two_at_a_time() -> None:
    admission = Admission("m/1", 16, 100, time.monotonic, adaptive=True)
    shared = threading.Semaphore(2)

    def compute() -> None:
        with shared:
            time.sleep(0.004)

    async def caller() -> None:
        for _ in range(15):
            if not admission.try_enter():
                await admission.enter(None)
            began = time.monotonic()
            await asyncio.to_thread(compute)
            admission.leave()
            admission.rate.add(time.monotonic() - began)
            limits.append(admission.capacity)

    limits: list[int] = []
    await asyncio.gather(*(caller() for _ in range(16)))
    later = limits[len(limits) // 2 :]
    assert 1 <= sum(later) / len(later) <= 6
