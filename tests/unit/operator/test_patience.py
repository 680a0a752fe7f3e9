"""How long the operator waits for what no watch tells of."""

from __future__ import annotations

from pillion_operator.reconcile.patience import Patience


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_standing_trouble_is_looked_at_ever_more_seldom_up_to_a_bound() -> None:
    clock = Clock()
    patience: Patience[str] = Patience(clock, 3.0, 60.0)

    waits: list[float] = []
    for _ in range(7):
        waits.append(patience.seconds("a", "the same"))
        clock.now += waits[-1]

    assert [3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0] == waits


def test_other_trouble_and_trouble_that_was_gone_begin_anew() -> None:
    clock = Clock()
    patience: Patience[str] = Patience(clock, 3.0, 60.0)
    for _ in range(3):
        clock.now += patience.seconds("a", "first")

    assert 3.0 == patience.seconds("a", "second")
    clock.now += 3.0
    assert 6.0 == patience.seconds("a", "second")
    patience.forget("a")
    assert 3.0 == patience.seconds("a", "second")
    assert 3.0 == patience.seconds("b", "second")


def test_a_look_before_its_time_leaves_the_time_as_it_was() -> None:
    clock = Clock()
    patience: Patience[str] = Patience(clock, 3.0, 60.0)
    clock.now += patience.seconds("a", "the same")
    patience.seconds("a", "the same")

    clock.now += 2.0

    assert 4.0 == patience.seconds("a", "the same")
