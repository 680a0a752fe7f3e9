"""What is done about a model that says that it is unhealthy. Pure."""

from __future__ import annotations

import itertools

from pillion.repository.health import Course, judged


def mended_at(answers: dict[float, bool], limit: int) -> list[float]:
    """The times of the answers, healthy or not, after which the model is mended."""
    course, times = Course(), []
    for now, healthy in answers.items():
        course, mend = judged(course, healthy=healthy, now=now, limit=limit)
        if mend:
            times.append(now)
    return times


def test_so_many_failures_in_a_row_have_it_mended_and_a_good_answer_between_begins_anew() -> None:
    assert [30.0] == mended_at({10.0: False, 20.0: False, 30.0: False}, 3)
    assert [] == mended_at({10.0: False, 20.0: False, 30.0: True, 40.0: False, 50.0: False}, 3)


def test_one_that_stays_unhealthy_is_mended_ever_more_rarely() -> None:
    always = {float(now): False for now in range(1, 1000)}

    times = mended_at(always, 1)

    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0] == pauses[:8]


def test_nothing_is_mended_where_that_is_not_wanted() -> None:
    assert [] == mended_at({float(now): False for now in range(100)}, 0)


def test_a_good_answer_lets_the_next_failures_be_mended_at_once() -> None:
    assert [1.0, 3.0] == mended_at({1.0: False, 2.0: True, 3.0: False}, 1)
