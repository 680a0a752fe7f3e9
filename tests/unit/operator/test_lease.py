from __future__ import annotations

import pytest

from pillion_operator.client.errors import NotLeaderError
from pillion_operator.client.fence import LeaseFence, boot_clock
from pillion_operator.client.lease import Move, Observation, decide


def seen(holder: str, *, since: float = 0.0, duration: float = 12.0) -> Observation:
    return Observation(holder, "1", duration, since)


@pytest.mark.parametrize(
    ("move", "observation", "now"),
    [
        (Move.CREATE, None, 0.0),
        (Move.RENEW, seen("me"), 100.0),
        (Move.WAIT, seen("other"), 11.9),
        (Move.TAKE, seen("other"), 12.0),
        (Move.TAKE, seen(""), 0.1),
        (Move.TAKE, seen("other", duration=1.0), 1.0),
        (Move.WAIT, seen("other", since=50.0), 60.0),
    ],
)
def test_the_move_follows_from_when_our_clock_last_saw_a_change(
    move: Move, observation: Observation | None, now: float
) -> None:
    assert move is decide(observation, "me", now)


def test_the_fence_is_closed_before_the_first_renewal() -> None:
    with pytest.raises(NotLeaderError):
        LeaseFence().check()


def test_the_fence_closes_by_itself_at_the_deadline() -> None:
    now = 0.0
    fence = LeaseFence(lambda: now)
    fence.extend(8.0)
    fence.check()

    now = 8.0

    with pytest.raises(NotLeaderError):
        fence.check()


def test_a_closed_fence_lets_nothing_pass() -> None:
    fence = LeaseFence(lambda: 0.0)
    fence.extend(8.0)
    fence.close()

    with pytest.raises(NotLeaderError):
        fence.check()


def test_the_clock_does_not_go_back() -> None:
    assert boot_clock() <= boot_clock()
