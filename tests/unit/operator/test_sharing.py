"""Equal parts of objects are one in memory, and no two that differ are taken for equal."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion_operator.apply.drift import without
from pillion_operator.observe.sharing import Sharing
from pillion_operator.observe.store import Store
from pillion_operator.state.kinds import DEPLOYMENT
from pillion_operator.state.manifest import Key, object_at

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion_operator.state.manifest import Manifest

_LEAVES = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0]) | st.sampled_from(["", "a"])
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)


def deployment(name: str, image: str = "a") -> Manifest:
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": "1"},
        "spec": {"template": {"spec": {"containers": [{"name": "model", "image": image, "ports": [{"port": 1}]}]}}},
    }


@given(st.lists(st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3), max_size=6))
def test_what_comes_back_is_what_was_given(manifests: list[dict[str, JsonValue]]) -> None:
    sharing = Sharing()

    # By their texts: 1, 1.0 and True are equal, and not the same.
    assert [repr(one) for one in manifests] == [repr(sharing.of(one)) for one in copy.deepcopy(manifests)]


def test_what_two_objects_have_alike_is_kept_once() -> None:
    store = Store()
    for one in (deployment("x"), deployment("y"), deployment("z", image="b")):
        store.record(DEPLOYMENT, one)

    x, y, z = (store.get(DEPLOYMENT, Key("n", name)) for name in "xyz")

    assert x is not None
    assert y is not None
    assert z is not None
    assert object_at(x, "spec") is object_at(y, "spec")
    assert object_at(x, "spec") is not object_at(z, "spec")
    assert ("x", "y") == (object_at(x, "metadata")["name"], object_at(y, "metadata")["name"])


def test_what_is_not_seen_any_more_is_forgotten_and_what_is_stays() -> None:
    sharing = Sharing()
    kept = sharing.of({"spec": {"often": [1]}})["spec"]

    for number in range(20_000):
        sharing.of({"spec": {"number": number}})
        assert sharing.of({"spec": {"often": [1]}})["spec"] is kept

    assert len(sharing) <= 2 * 4096


def test_what_nobody_nests_so_deep_stays_as_it_came() -> None:
    deep: JsonValue = "end"
    for _ in range(5_000):
        deep = {"in": deep}

    found: JsonValue = Sharing().of({"spec": deep})["spec"]

    for _ in range(5_000):
        assert isinstance(found, dict)
        found = found["in"]
    assert "end" == found


@pytest.mark.parametrize("other", [True, 1.0, "1", [1], {"1": 1}, None])
def test_values_that_look_alike_are_told_apart(other: JsonValue) -> None:
    sharing = Sharing()
    sharing.of({"spec": {"count": 1}})

    assert repr({"spec": {"count": other}}) == repr(sharing.of({"spec": {"count": other}}))


def test_what_is_taken_out_of_one_part_stays_in_those_that_were_equal() -> None:
    equal: list[JsonValue] = [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    containers: list[JsonValue] = [{"name": name, "env": copy.deepcopy(equal)} for name in ("model", "beside")]
    store = Store()
    store.record(DEPLOYMENT, {**deployment("x"), "spec": {"containers": containers}})
    live = store.get(DEPLOYMENT, Key("n", "x"))
    assert live is not None

    cleaned = without(live, [("spec", "containers", 'k:{"name":"beside"}', "env", 'k:{"name":"b"}')])

    model, beside = cast("list[dict[str, JsonValue]]", object_at(cleaned, "spec")["containers"])
    assert equal == model["env"]
    assert equal[:1] == beside["env"]
