"""A queue that takes up a burst is left alone; one that stands is kept short until what is asked for can be done."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pillion.dataplane.rate import ServiceRate
from pillion.dataplane.standing import Shedding

CALL = 0.002


def rate(call: float = CALL) -> ServiceRate:
    made = ServiceRate()
    for _ in range(10):
        made.add(call)
    return made


@dataclass
class Service:
    """A model of one slot, its queue and its callers, on a clock of its own."""

    shedding: Shedding
    max_queue: int = 128
    now: float = 100.0
    free_at: float = 100.0
    rate: ServiceRate = field(default_factory=rate)
    starts: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def arrive(self) -> float | None:
        """One request; when it is done, or None where it was turned away."""
        while self.starts and self.starts[0] <= self.now:
            self.starts.pop(0)
            self.rate.add(CALL)
        if self.free_at > self.now:
            if len(self.starts) >= self.max_queue:
                self.shedding.overflowed(self.now, self.rate)
                self.refused.append(self.now)
                return None
            if self.shedding.turns_away(self.now, len(self.starts), len(self.starts), self.rate, 1):
                self.refused.append(self.now)
                return None
        start = max(self.now, self.free_at)
        self.starts.append(start)
        self.waits.append(start - self.now)
        self.free_at = start + CALL
        return self.free_at

    def offer(self, per_call: float, seconds: float) -> None:
        """An open loop: so many requests in the time of one call, whatever becomes of them."""
        until = self.now + seconds
        while self.now < until:
            self.arrive()
            self.now += CALL / per_call

    def closed_loop(self, callers: int, seconds: float) -> None:
        """Callers that ask again when they were answered, and a call later where they were turned away."""
        until = self.now + seconds
        due = [self.now] * callers
        while self.now < until:
            due.sort()
            self.now = due.pop(0)
            due.append(self.arrive() or self.now + CALL)


@pytest.mark.parametrize("early", [False, True])
def test_a_burst_is_taken_up(early: bool) -> None:  # noqa: FBT001 - parametrized
    service = Service(Shedding(early=early))
    for _ in range(20):
        for _ in range(20):
            service.arrive()
        service.now += 25 * CALL
    assert not service.refused


def test_callers_for_whom_there_is_room_are_never_turned_away_where_the_queue_has_to_be_full_first() -> None:
    service = Service(Shedding(early=False))
    service.closed_loop(128, 5.0)
    assert not service.refused


def test_a_queue_that_was_full_is_kept_short_while_more_is_asked_for_than_can_be_done() -> None:
    service = Service(Shedding(early=False))
    service.offer(2.0, 1.0)
    service.waits.clear()
    began = service.now
    service.offer(2.0, 8.0)
    assert CALL >= max(service.waits)
    assert len(service.waits) == pytest.approx(8.0 / CALL, rel=0.02), "the model is never idle for it"
    assert began < service.refused[-1]


def test_a_queue_may_be_kept_short_before_it_was_full() -> None:
    service = Service(Shedding(early=True))
    service.offer(2.0, 9.0)
    late = sum(wait > 3 * CALL for wait in service.waits)
    assert 0.01 > late / len(service.waits)
    assert service.max_queue > late


@pytest.mark.parametrize("early", [False, True])
def test_it_may_be_long_again_once_what_is_asked_for_can_be_done(early: bool) -> None:  # noqa: FBT001 - parametrized
    service = Service(Shedding(early=early))
    service.offer(2.0, 2.0)
    assert service.shedding.active
    service.offer(0.8, 0.5)
    service.refused.clear()
    for _ in range(20):
        for _ in range(20):
            service.arrive()
        service.now += 25 * CALL
    assert not service.refused
    assert not service.shedding.active


def test_bursts_that_a_short_queue_cannot_take_do_not_keep_it_short() -> None:
    service = Service(Shedding(early=False))
    service.offer(2.0, 1.0)
    for _ in range(10):
        for _ in range(60):
            service.arrive()
        service.now += 80 * CALL
    assert not service.shedding.active, "the model had time for all of them"


def test_callers_that_try_again_at_once_find_the_queue_long_after_ten_seconds() -> None:
    service = Service(Shedding(early=False))
    service.offer(2.0, 1.0)
    service.closed_loop(64, 8.0)
    assert service.shedding.active
    service.closed_loop(64, 2.0)
    service.refused.clear()
    service.closed_loop(64, 5.0)
    assert not service.refused
    assert not service.shedding.active


def test_a_queue_that_stands_is_found_out_before_its_waits_make_a_percent_of_a_quarter_of_a_minute() -> None:
    service = Service(Shedding(early=True))
    service.offer(2.0, 16.0)
    late = sum(wait > 6 * CALL for wait in service.waits)
    assert 0.005 > late / len(service.waits)


def test_quick_calls_get_twenty_milliseconds() -> None:
    shedding = Shedding(early=True)
    shedding.turns_away(10.0, 0, 0, rate(), 1)
    assert not shedding.turns_away(10.019, 5, 5, rate(), 1)
    assert shedding.turns_away(10.021, 5, 5, rate(), 1)


def test_slow_calls_get_the_time_of_ten_of_them() -> None:
    shedding = Shedding(early=True)
    slow = rate(2.0)
    shedding.turns_away(10.0, 0, 0, slow, 1)
    assert not shedding.turns_away(29.9, 5, 5, slow, 1)
    assert shedding.turns_away(30.1, 5, 5, slow, 1)


def test_requests_that_share_calls_may_wait_for_a_whole_one() -> None:
    shared = ServiceRate()
    for _ in range(10):
        shared.add_shared(0.032, 32)
    shedding = Shedding(early=False)
    shedding.overflowed(10.0, shared)
    assert not shedding.turns_away(10.01, 31, 31, shared, 1)
    assert shedding.turns_away(10.01, 32, 32, shared, 1)
