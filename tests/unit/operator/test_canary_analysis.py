"""How the newest revision does beside the last good one, and which step comes next: figures in, verdicts out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion_operator.analysis.steps import Stage, Step, next_stage, rest
from pillion_operator.analysis.verdict import Finding, Limits, Verdict, enough, hardly_ever, judged
from pillion_operator.analysis.window import Figures, RequestCounts, Window

ONE_PERCENT = Limits(error_rate=0.01)
STEPS = (Step(10, 60.0), Step(50, 120.0))
PASSES, HOLDS = Finding(Verdict.PASSES, ""), Finding(Verdict.HOLDS, "")


def answered(requests: float, failed: float = 0.0, *, slow: float = 0.0) -> Figures:
    """Of which some took between 100 and 250 ms, the others less than 50 ms."""
    fast = requests - slow
    return Figures(requests, failed, {0.05: fast, 0.1: fast, 0.25: requests, math.inf: requests})


@pytest.mark.parametrize(
    ("expected", "newest", "stable"),
    [
        (Verdict.HOLDS, answered(0), answered(0)),
        (Verdict.HOLDS, answered(299), answered(5000)),  # not enough to tell one in a hundred
        (Verdict.PASSES, answered(300), answered(5000)),
        (Verdict.PASSES, answered(1000, 9), answered(0)),
        (Verdict.HOLDS, answered(1, 1), answered(5000)),  # one failed request decides nothing
        (Verdict.FAILS, answered(10, 5), answered(5000)),
        (Verdict.HOLDS, answered(1000, 12), answered(5000)),  # above, and near
        (Verdict.FAILS, answered(1000, 40), answered(5000, 10)),
        (Verdict.HOLDS, answered(1000, 40), answered(5000, 250)),  # what both suffer from is not its fault
        (Verdict.FAILS, answered(1000, 200), answered(5000, 250)),
        (Verdict.FAILS, answered(1000, 40), answered(20, 10)),  # too few of the other to compare with
        (Verdict.HOLDS, answered(5, 5), answered(60, 60)),  # few of both, and both suffer
        (Verdict.FAILS, answered(5, 5), answered(60, 0)),
    ],
)
def test_failed_requests_are_compared_with_the_limit_and_the_last_good_revision(
    expected: Verdict, newest: Figures, stable: Figures
) -> None:
    assert expected is judged(ONE_PERCENT, newest, stable).verdict


@pytest.mark.parametrize(
    ("expected", "latency", "slow"),
    [
        (Verdict.PASSES, 0.25, 500),
        (Verdict.FAILS, 0.1, 100),
        (Verdict.FAILS, 0.06, 100),  # rounded up to 100 ms
        (Verdict.PASSES, 0.1, 5),
        (Verdict.HOLDS, 0.1, 12),
        (Verdict.PASSES, 90.0, 500),  # beyond what pods tell apart
    ],
)
def test_slow_requests_are_held_to_one_in_a_hundred(expected: Verdict, latency: float, slow: float) -> None:
    assert expected is judged(Limits(latency=latency), answered(1000, slow=slow), answered(1000)).verdict


def test_the_worst_decides_and_the_figures_are_told() -> None:
    found = judged(Limits(0.01, 0.1), answered(1000, 100), answered(4000, 4))

    assert Verdict.FAILS is found.verdict
    assert "10 % of 1000 requests failed (last good revision: 0.1 % of 4000), at most 1 %" == found.text
    found = judged(Limits(0.01, 0.1), answered(1000), answered(4000))
    assert "99 % of requests took up to 50 ms (last good revision: 50 ms), at most 100 ms" in found.text


def test_no_failure_at_all_is_a_limit_too() -> None:
    limits = Limits(error_rate=0.0)

    assert Verdict.FAILS is judged(limits, answered(5, 1), answered(5000)).verdict
    assert Verdict.HOLDS is judged(limits, answered(999), answered(5000)).verdict
    assert Verdict.PASSES is judged(limits, answered(enough(0.0)), answered(5000)).verdict


@given(of=st.integers(1, 400), rate=st.floats(0.001, 0.9), data=st.data())
def test_what_hardly_ever_happens_is_the_tail_of_the_binomial_distribution(
    of: int, rate: float, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, of))
    tail = sum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(bad, of + 1))
    if abs(tail - 1e-4) > 1e-6:
        assert (tail < 1e-4) == hardly_ever(bad, of, rate)


def test_a_window_forgets_what_was_before_it() -> None:
    window = Window(60.0)
    for at in range(0, 301, 5):
        failed = 100.0 if at >= 100 else 0.0
        window.look(float(at), {"a": RequestCounts(at * 10.0, failed), "b": RequestCounts(at * 1.0)})

    assert (660.0, 0.0) == (window.figures().requests, window.figures().failed)


def test_counters_that_begin_anew_and_pods_that_come_and_go_count_as_what_they_are() -> None:
    window = Window(60.0)
    window.look(0.0, {"a": RequestCounts(100.0), "gone": RequestCounts(50.0)})
    # One that comes later is counted from the first look at it.
    window.look(10.0, {"a": RequestCounts(130.0), "new": RequestCounts(1000.0)})
    window.look(20.0, {"a": RequestCounts(7.0, 1.0), "new": RequestCounts(1010.0)})

    assert (47.0, 1.0) == (window.figures().requests, window.figures().failed)


def test_a_container_that_starts_again_takes_nothing_back_of_what_it_counted() -> None:
    window = Window(60.0)
    window.look(0.0, {"a": RequestCounts(50.0, 0.0, {0.1: 50.0, math.inf: 50.0})})
    window.look(10.0, {"a": RequestCounts(60.0, 5.0, {0.1: 60.0, math.inf: 60.0})})
    # It has counted more since its start than when it was looked at first, and all of it slowly.
    window.look(20.0, {"a": RequestCounts(7.0, 1.0, {0.1: 0.0, math.inf: 7.0})})
    window.look(30.0, {"a": RequestCounts(55.0, 4.0, {0.1: 0.0, math.inf: 55.0})})

    figures = window.figures()
    assert (65.0, 9.0, 65.0, 55.0) == (figures.requests, figures.failed, figures.timed, figures.slower(0.1))
    assert Verdict.FAILS is judged(Limits(latency=0.1), figures, answered(5000)).verdict


REACHED, COMING, PAUSED = (True, False), (False, False), (True, True)


@pytest.mark.parametrize(
    ("expected", "stage", "now", "pods", "finding"),
    [
        (Stage(0, 0.0), Stage(), 5.0, COMING, None),
        (Stage(0, 5.0), Stage(), 5.0, REACHED, None),
        (Stage(0, 5.0), Stage(0, 5.0), 64.0, REACHED, None),
        (Stage(1, 0.0), Stage(0, 5.0), 65.0, REACHED, None),
        (Stage(1, 0.0), Stage(0, 5.0), 65.0, REACHED, PASSES),
        (Stage(0, 5.0), Stage(0, 5.0), 65.0, REACHED, HOLDS),
        (Stage(0, 5.0), Stage(0, 5.0), 65.0, PAUSED, None),
        (Stage(0, 5.0), Stage(0, 5.0), 65.0, COMING, None),  # lost its pods
        (Stage(2, 0.0), Stage(1, 100.0), 220.0, REACHED, None),
        (Stage(2, 0.0), Stage(2, 0.0), 999.0, REACHED, HOLDS),  # it has taken over
        (Stage(0, 5.0), Stage(0, 500.0), 5.0, REACHED, None),  # the clock was set back
    ],
)
def test_a_step_passes_when_its_time_is_over_and_its_figures_are_good(
    expected: Stage, stage: Stage, now: float, pods: tuple[bool, bool], finding: Finding | None
) -> None:
    reached, held = pods

    assert expected == next_stage(STEPS, stage, now, reached=reached, finding=finding, held=held)


def test_a_step_stays_for_what_is_left_of_its_time() -> None:
    assert [0.0, 60.0, 20.0, 0.0] == [
        rest(STEPS, stage, 105.0) for stage in (Stage(), Stage(0, 105.0), Stage(0, 65.0), Stage(2, 0.0))
    ]
