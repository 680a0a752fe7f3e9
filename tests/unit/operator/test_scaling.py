"""The operator's own autoscaler as a table: loads and times in, counts out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion.resources.autoscaling import PodMetric
from pillion_operator.scaling.behavior import DEFAULT, behavior_of
from pillion_operator.scaling.decision import PodLoad, Scaler
from pillion_operator.state.scaling import Behavior, Direction, PodScaling, Rate

if TYPE_CHECKING:
    from pillion.resources import JsonObject

FREE = Behavior(Direction(0.0, (Rate("Pods", 1000, 1.0),)), Direction(0.0, (Rate("Pods", 1000, 1.0),)))
CONCURRENCY = PodScaling(PodMetric("concurrency", 10.0), FREE)
RPS = PodScaling(PodMetric("rps", 10.0), FREE)
QUEUE = PodScaling(PodMetric("queueDepth", 2.0), FREE)


def busy(*loads: float | None) -> dict[str, PodLoad | None]:
    return {str(n): None if load is None else PodLoad(in_progress=load) for n, load in enumerate(loads)}


def steady(scaler: Scaler, scaling: PodScaling, *loads: float | None, start: float = 0.0, until: float = 60.0) -> None:
    for at in range(int(start), int(until) + 1, 2):
        scaler.look(float(at), busy(*loads), scaling.metric)


@pytest.mark.parametrize(
    ("expected", "current", "loads"),
    [
        (2, 2, (10.0, 10.0)),
        (2, 2, (11.0, 10.5)),  # within the tolerance of a tenth
        (3, 2, (12.0, 11.0)),
        (2, 2, (9.5, 9.0)),
        (1, 2, (4.0, 4.0)),
        (1, 4, (0.0, 0.0, 0.0, 0.0)),
        (5, 4, (20.0, 10.0, 10.0, 10.0)),
        (20, 5, (100.0, 100.0, 100.0, 100.0, 100.0)),  # the most that may be
    ],
)
def test_the_count_follows_the_load(expected: int, current: int, loads: tuple[float, ...]) -> None:
    scaler = Scaler()
    steady(scaler, CONCURRENCY, *loads)

    assert expected == scaler.decide(60.0, current, CONCURRENCY, 1, 20).count


def test_nothing_is_decided_while_no_pod_answers() -> None:
    scaler = Scaler()
    assert scaler.decide(0.0, 3, CONCURRENCY, 1, 20).count is None
    scaler.look(2.0, busy(None, None), CONCURRENCY.metric)

    found = scaler.decide(2.0, 3, CONCURRENCY, 1, 20)

    assert (None, 2) == (found.count, found.silent)


@pytest.mark.parametrize(
    ("expected", "loads"),
    [
        (2, (0.0, None, None)),  # the two may be busy, so one may go
        (4, (35.0, None, None)),  # the two may be idle, so only what is known adds pods
        (3, (10.0, None, None)),
    ],
)
def test_pods_that_do_not_answer_neither_add_nor_remove_others(expected: int, loads: tuple[float | None, ...]) -> None:
    scaler = Scaler()
    steady(scaler, CONCURRENCY, *loads)

    assert expected == scaler.decide(60.0, 3, CONCURRENCY, 1, 20).count


def test_a_pod_that_answers_again_is_missing_from_the_minute_still() -> None:
    scaler = Scaler()
    steady(scaler, CONCURRENCY, 10.0, None, 10.0, None, until=30)
    steady(scaler, CONCURRENCY, 10.0, 10.0, 10.0, 10.0, start=32, until=60)

    assert 4 == scaler.decide(60.0, 4, CONCURRENCY, 1, 20).count


def test_a_sudden_load_counts_before_the_minute_is_over_and_nothing_goes_for_a_minute() -> None:
    scaler = Scaler()
    steady(scaler, CONCURRENCY, 5.0, until=60)
    steady(scaler, CONCURRENCY, 80.0, start=62, until=68)

    assert 8 == scaler.decide(68.0, 1, CONCURRENCY, 1, 20).count
    steady(scaler, CONCURRENCY, *[0.0] * 8, start=70, until=120)
    assert 8 == scaler.decide(120.0, 8, CONCURRENCY, 1, 20).count
    steady(scaler, CONCURRENCY, *[0.0] * 8, start=122, until=190)
    assert 1 == scaler.decide(190.0, 8, CONCURRENCY, 1, 20).count


def test_a_new_leader_takes_nothing_away_before_it_has_looked_for_the_whole_window() -> None:
    patient = PodScaling(PodMetric("concurrency", 10.0), DEFAULT)
    scaler = Scaler()
    scaler.look(0.0, busy(1.0, 1.0, 1.0), patient.metric)

    found = scaler.decide(0.0, 3, patient, 1, 20)

    assert 3 == found.count
    assert "300 s" in found.limit


def test_the_rate_of_requests_is_read_from_counters_that_may_start_anew() -> None:
    scaler = Scaler()
    for at in range(0, 61, 2):
        # The second container was started anew after half a minute, and counts from zero.
        second = (at if at < 30 else at - 30) * 20.0
        scaler.look(float(at), {"a": PodLoad(finished=at * 10.0), "b": PodLoad(finished=second)}, RPS.metric)

    found = scaler.decide(60.0, 2, RPS, 1, 20)

    assert 3 == found.count
    assert math.isclose(found.load, 30.0, rel_tol=0.1)


def test_a_first_look_at_a_counter_is_no_rate_and_no_silence() -> None:
    scaler = Scaler()
    scaler.look(0.0, {"a": PodLoad(finished=1e6)}, RPS.metric)

    found = scaler.decide(0.0, 2, RPS, 1, 20)

    assert (None, 0) == (found.count, found.silent)


def test_what_waits_is_what_is_scaled_on_where_the_manifest_says_so() -> None:
    scaler = Scaler()
    for at in range(0, 61, 2):
        scaler.look(float(at), {"a": PodLoad(in_progress=50.0, waiting=6.0)}, QUEUE.metric)

    assert 3 == scaler.decide(60.0, 1, QUEUE, 1, 20).count


def test_pods_go_after_the_load_has_been_low_for_the_whole_window() -> None:
    patient = PodScaling(PodMetric("concurrency", 10.0), DEFAULT)
    scaler = Scaler()
    steady(scaler, patient, 10.0, 10.0, 10.0, 10.0, until=60)
    scaler.decide(60.0, 4, patient, 1, 20)
    counts = {}
    for at in range(62, 500, 2):
        scaler.look(float(at), busy(1.0, 1.0, 1.0, 1.0), patient.metric)
        counts[at] = scaler.decide(float(at), 4, patient, 1, 20).count

    # The mean of the minute is what the window looks at, so it sinks step by step, 300 s behind.
    assert all(count == 4 for at, count in counts.items() if at <= 360)
    assert 1 == counts[498]


@pytest.mark.parametrize(
    ("expected", "behavior"),
    [
        (6, {}),  # four pods, or twice as many, in fifteen seconds
        (3, {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}),
        (2, {"scaleUp": {"selectPolicy": "Disabled"}}),
        (
            3,
            {
                "scaleUp": {
                    "selectPolicy": "Min",
                    "policies": [
                        {"type": "Percent", "value": 50, "periodSeconds": 30},
                        {"type": "Pods", "value": 7, "periodSeconds": 30},
                    ],
                }
            },
        ),
    ],
)
def test_the_manifest_says_how_fast(expected: int, behavior: dict[str, object]) -> None:
    parsed, wrong = behavior_of(behavior)  # type: ignore[arg-type]  # a JSON object
    scaling = PodScaling(PodMetric("concurrency", 10.0), parsed)
    scaler = Scaler()
    steady(scaler, scaling, 100.0, 100.0, until=60)
    scaler.decide(58.0, 2, scaling, 1, 50)

    found = scaler.decide(60.0, 2, scaling, 1, 50)

    assert () == wrong
    assert expected == found.count
    assert found.limit


def test_the_rates_hold_for_what_was_decided_here_and_not_for_what_others_changed() -> None:
    policy: JsonObject = {"type": "Pods", "value": 1, "periodSeconds": 10}
    parsed, _ = behavior_of({"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [policy]}})
    scaling = PodScaling(PodMetric("concurrency", 10.0), parsed)
    scaler = Scaler()
    counts = []
    current = 1
    for at in range(0, 30, 2):
        if at == 4:
            current = 4  # somebody used the scale subresource
        scaler.look(float(at), busy(*[0.0] * current), scaling.metric)
        current = scaler.decide(float(at), current, scaling, 1, 20).count or 0
        counts.append(current)

    # One at once, and the next ten seconds after that was seen to have happened.
    assert [1, 1, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 1] == counts


def test_what_cannot_be_of_a_behaviour_is_named_and_the_default_holds() -> None:
    given: dict[str, object] = {
        "scaleUp": {"selectPolicy": "Often", "policies": [{"type": "Pods", "value": 0, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": -1, "tolerance": "much"},
    }

    parsed, wrong = behavior_of(given)  # type: ignore[arg-type]  # a JSON object

    assert DEFAULT == parsed
    fields = [address.partition(" ")[0] for address in wrong]
    assert [
        "scaleUp.selectPolicy", "scaleUp.policies", "scaleDown.stabilizationWindowSeconds", "scaleDown.tolerance",
    ] == fields  # fmt: skip


loads = st.one_of(st.none(), st.floats(0, 1e6))


@given(
    looks=st.lists(st.lists(loads, max_size=6), min_size=1, max_size=40),
    current=st.integers(1, 60),
    least=st.integers(0, 30),
    span=st.integers(1, 30),
    target=st.floats(0.01, 1e4),
)
def test_whatever_pods_say_the_count_keeps_its_limits(
    looks: list[list[float | None]], current: int, least: int, span: int, target: float
) -> None:
    scaling = PodScaling(PodMetric("concurrency", target), DEFAULT)
    scaler, most, seen = Scaler(), least + span, [current]
    for number, said in enumerate(looks):
        now = number * 2.0
        scaler.look(now, busy(*said), scaling.metric)
        found = scaler.decide(now, current, scaling, least, most)
        if found.count is None:
            assert all(load is None for load in said)
            continue
        assert max(1, least) <= found.count <= most
        # No more than double, or four more, in fifteen seconds; within the limits.
        start = max(seen[-8:])
        assert found.count <= max(start * 2, start + 4, least)
        current = found.count
        seen.append(current)
