"""What methods return, against what they declare."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from typing import Any, NotRequired, TypedDict

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import BaseModel, Field, RootModel, computed_field

from pillion.authoring.errors import ResultError
from pillion.authoring.results import plain
from pillion.authoring.types import describe


class Tone(enum.StrEnum):
    DRY = "dry"


@dataclasses.dataclass
class Label:
    name: str
    score: float = 0.0


class Row(BaseModel):
    value: int = Field(serialization_alias="the_value")

    @computed_field
    def doubled(self) -> int:
        return 2 * self.value


class Loose(TypedDict):
    a: int
    b: NotRequired[str]


def made_plain(value: Any, annotation: Any) -> Any:
    declared, _ = describe(type(None) if annotation is None else annotation, "here")
    return plain(value, declared, "it")


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (np.int64(3), int, 3),
        (np.float32(0.5), float, 0.5),
        (np.bool_(True), bool, True),
        (np.str_("a"), str, "a"),
        (2, float, 2.0),
        ((1, 2), list[int], [1, 2]),
        (np.array([1, 2]), list[int], [1, 2]),
        ({3}, set[int], [3]),
        (Tone.DRY, Tone, "dry"),
        (uuid.UUID(int=0), uuid.UUID, "00000000-0000-0000-0000-000000000000"),
        (dt.date(2026, 1, 2), dt.date, "2026-01-02"),
        (dt.timedelta(seconds=1), dt.timedelta, "PT1S"),
        (None, int | None, None),
        (None, None, None),
        (Label("a", np.float64(0.5)), Label, {"name": "a", "score": 0.5}),
        ({"name": "a", "score": 1}, Label, {"name": "a", "score": 1.0}),
        ([Row(value=2)], list[Row], [{"the_value": 2, "doubled": 4}]),
        ({"a": 1}, Loose, {"a": 1}),
        ({"x": np.array([1])}, Any, {"x": [1]}),
        (Label("a"), Any, {"name": "a", "score": 0.0}),
        (b"hi", bytes, b"hi"),
    ],
)
def test_what_people_return_becomes_plain(value: Any, annotation: Any, expected: Any) -> None:
    assert expected == made_plain(value, annotation)


def test_an_array_keeps_its_declared_dtype() -> None:
    array = made_plain([[1, 2]], NDArray[np.float32])
    assert (np.float32, (1, 2)) == (array.dtype, array.shape)


@pytest.mark.parametrize(
    ("value", "annotation", "sentence"),
    [
        ("a", int, "it is str, and an int is declared"),
        (1, None, "it is int, and None is declared"),
        (True, int, "it is bool, and an int is declared"),
        (1, str, "it is int, and a str is declared"),
        (None, int, "it is NoneType"),
        ([1, "a"], list[int], r"it\[1\] is str"),
        ("text", list[str], "it is str, and a list is declared"),
        ([Label("a", "b")], list[Label], r"it\[0\].score is str"),  # type: ignore[arg-type] # the wrong type is the point
        ({"score": 1}, Label, "it.name is missing"),
        ({"name": "a", "scor": 1}, Label, "it has 'scor', which Label does not declare"),
        ({1: 1}, dict[str, int], "keys are text"),
        (float("nan"), float, "it is nan, which JSON cannot carry"),
        (np.array([np.inf]), np.ndarray, "NaN or Infinity"),
        (np.array(["a"]), np.ndarray, "arrays hold numbers"),
        (object(), Any, "cannot be written as JSON"),
    ],
)
def test_what_is_not_declared_is_found_at_its_place(value: Any, annotation: Any, sentence: str) -> None:
    with pytest.raises(ResultError, match=sentence):
        made_plain(value, annotation)


class Numbers(RootModel[list[int]]):
    pass


class Number(RootModel[float]):
    pass


class Either(RootModel[int | list[str]]):
    pass


class Perhaps(RootModel[int | None]):
    pass


class Pair(RootModel[tuple[int, str]]):
    pass


class Named(RootModel[dict[str, Numbers]]):
    pass


class Rows(RootModel[list[Row]]):
    pass


class Anything(RootModel[list[Any]]):
    pass


class Nested(RootModel[Numbers]):
    pass


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        (Numbers([1, 2]), Numbers, [1, 2]),
        ([Numbers([1])], list[Numbers], [[1]]),
        (Numbers([1]), Numbers | None, [1]),
        (None, Numbers | None, None),
        (Number(0.5), Number, 0.5),
        (Perhaps(3), Perhaps, 3),
        (Perhaps(None), Perhaps, None),
        (Pair((1, "a")), Pair, [1, "a"]),
        (Named({"a": Numbers([1])}), Named, {"a": [1]}),
        (Rows([Row(value=1)]), Rows, [{"the_value": 1, "doubled": 2}]),
        (Anything([1, "a"]), Anything, [1, "a"]),
        (Nested(Numbers([1])), Nested, [1]),
    ],
)
def test_a_root_model_is_what_it_holds(value: object, declared: Any, expected: object) -> None:
    described, _ = describe(declared, "here")
    assert plain(value, described, "result") == expected


def test_a_root_model_of_a_union_tells_which_member_it_holds() -> None:
    described, _ = describe(Either, "here")
    assert [(chosen.member, chosen.value) for chosen in (plain(Either(one), described, "") for one in (1, ["a"]))] == [
        (0, 1), (1, ["a"])
    ]  # fmt: skip


def test_what_is_wrong_in_a_root_model_is_told_with_its_place() -> None:
    described, _ = describe(Numbers, "here")
    with pytest.raises(ResultError, match=r"^result\[1\] is str, and an int is declared$"):
        plain(RootModel[list[Any]]([1, "a"]), described, "result")
