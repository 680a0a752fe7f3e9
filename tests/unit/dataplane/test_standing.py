"""A queue that takes up a burst is left alone; one that stands is kept short."""

from __future__ import annotations

from pillion.dataplane.standing import StandingQueue

CALL = 0.002


def test_a_burst_is_taken_up() -> None:
    queue = StandingQueue()
    assert not any(queue.turns_away(10.0, queued, queued * CALL, CALL) for queued in range(100))


def test_a_queue_that_has_not_been_empty_for_a_while_is_kept_short() -> None:
    queue = StandingQueue()
    assert not queue.turns_away(10.0, 0, CALL, CALL)
    assert not queue.turns_away(10.09, 40, 40 * CALL, CALL)
    assert queue.turns_away(10.11, 40, 40 * CALL, CALL)
    assert not queue.turns_away(10.12, 0, CALL, CALL), "who waits no longer than a call is let in"
    assert queue.turns_away(10.13, 2, 3 * CALL, CALL), "it was empty because others had been turned away"


def test_a_while_without_a_refusal_ends_it() -> None:
    queue = StandingQueue()
    queue.turns_away(10.0, 0, CALL, CALL)
    assert queue.turns_away(10.2, 40, 40 * CALL, CALL)
    assert not queue.turns_away(10.25, 0, CALL, CALL)
    assert not queue.turns_away(10.31, 0, CALL, CALL)
    assert not queue.turns_away(10.32, 40, 40 * CALL, CALL)


def test_slow_calls_get_the_time_of_ten_of_them() -> None:
    queue = StandingQueue()
    queue.turns_away(10.0, 0, 2.0, 2.0)
    assert not queue.turns_away(29.9, 5, 12.0, 2.0)
    assert queue.turns_away(30.1, 5, 12.0, 2.0)
