"""Which pod gets which model. Pure."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pillion_operator.builders.assignment import Assignment, Wish, assign

SIZES = st.dictionaries(
    st.sampled_from([f"m{number:02}" for number in range(40)]), st.integers(1, 1000), min_size=1, max_size=40
)
PODS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)
COPIES = st.integers(1, 4)


def loads(sizes: dict[str, int], found: Assignment, pods: list[str]) -> dict[str, int]:
    """Bytes in each pod."""
    return {pod: sum(sizes[model] for model, held in found.places.items() if pod in held) for pod in pods}


def moved(one: Assignment, other: Assignment) -> set[str]:
    """Models that are in a pod which had them not."""
    return {model for model in other.places if set(other.places[model]) - set(one.places.get(model, ()))}


@given(SIZES, PODS, COPIES)
@settings(max_examples=60)
def test_every_model_has_its_copies_in_different_pods_and_a_second_look_changes_nothing(
    sizes: dict[str, int], pods: list[str], copies: int
) -> None:
    found = assign(sizes, pods, {}, Wish(copies))

    assert {model: min(copies, len(pods)) for model in sizes} == {
        model: len(set(held)) for model, held in found.places.items()
    }
    assert {} == found.missing
    assert all(set(held) <= set(pods) for held in found.places.values())
    assert found == assign(sizes, list(reversed(pods)), found.places, Wish(copies))


@given(SIZES, PODS, COPIES, st.integers(1, 4000))
@settings(max_examples=60)
def test_no_pod_is_given_more_than_the_budget_and_what_has_no_room_is_counted(
    sizes: dict[str, int], pods: list[str], copies: int, budget: int
) -> None:
    found = assign(sizes, pods, {}, Wish(copies, budget))

    held = loads(sizes, found, pods)
    assert max(held.values()) <= budget
    for model, places in found.places.items():
        assert min(copies, len(pods)) == len(places) + found.missing.get(model, 0)
        if model in found.missing:
            assert all(held[pod] + sizes[model] > budget for pod in pods if pod not in places)
    assert budget - min(held.values()) == found.most_free


@given(SIZES, PODS.filter(lambda pods: len(pods) > 1), COPIES)
@settings(max_examples=60)
def test_when_a_pod_dies_only_its_models_move(sizes: dict[str, int], pods: list[str], copies: int) -> None:
    before = assign(sizes, pods, {}, Wish(copies))

    after = assign(sizes, pods[1:], before.places, Wish(copies))

    assert moved(before, after) <= {model for model, held in before.places.items() if pods[0] in held}
    for model, held in before.places.items():
        assert set(held) - {pods[0]} <= set(after.places[model])


@given(SIZES, PODS, COPIES)
@settings(max_examples=60)
def test_a_new_pod_takes_over_and_nothing_moves_between_the_others(
    sizes: dict[str, int], pods: list[str], copies: int
) -> None:
    before = assign(sizes, pods, {}, Wish(copies))

    after = assign(sizes, [*pods, "new"], before.places, Wish(copies))

    for model, held in after.places.items():
        assert set(held) - {"new"} <= set(before.places[model])
        assert min(copies, len(pods) + 1) == len(held)
    if len(pods) >= copies:
        was, now = loads(sizes, before, pods), loads(sizes, after, [*pods, "new"])
        assert max(now.values()) <= max(was.values())


def test_equal_models_are_shared_out_equally_and_evened_out_when_a_pod_comes() -> None:
    sizes = {f"m{number:03}": 10 for number in range(200)}
    three = assign(sizes, "abc", {}, Wish())
    two = assign(sizes, "ab", three.places, Wish())
    again = assign(sizes, "abd", two.places, Wish())

    assert [660, 670, 670] == sorted(loads(sizes, three, [*"abc"]).values())
    assert [1000, 1000] == sorted(loads(sizes, two, [*"ab"]).values())
    assert [660, 670, 670] == sorted(loads(sizes, again, [*"abd"]).values())
    assert loads(sizes, again, [*"abd"])["d"] == 10 * len(moved(two, again))


def test_the_first_copy_of_all_comes_before_the_second_of_any() -> None:
    found = assign({"a": 4, "b": 4, "c": 2}, ["x", "y"], {}, Wish(2, 6))

    assert {1, 2} == {len(held) for held in found.places.values()}
    assert {"a": 1, "b": 1} == dict(found.missing)


def test_a_pod_whose_models_turn_out_larger_gives_some_up_where_others_have_room_and_keeps_them_where_none_has() -> (
    None
):
    before = {"a": ["x"], "b": ["x"], "c": ["y"]}

    eased = assign({"a": 60, "b": 60, "c": 30}, ["x", "y"], before, Wish(1, 100))
    full = assign({"a": 60, "b": 60, "c": 50}, ["x", "y"], before, Wish(1, 100))

    assert {"x": 60, "y": 90} == loads({"a": 60, "b": 60, "c": 30}, eased, ["x", "y"])
    assert before == {model: [*held] for model, held in full.places.items()}
    assert {} == full.missing


def test_fewer_copies_take_some_away_and_no_pods_leave_all_missing() -> None:
    assert {"a": ("x",)} == assign({"a": 1}, ["x", "y"], {"a": ["x", "y"]}, Wish(1)).places
    assert {"a": 1} == assign({"a": 1}, [], {"a": ["x"]}, Wish(3)).missing
