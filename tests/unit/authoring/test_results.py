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
from pydantic import BaseModel, Field, computed_field

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
