"""Whole numbers of a Struct, looked for where whole numbers are declared, and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pillion import Model, task
from pillion.authoring.signature import define
from pillion.errors import PillionError
from pillion.protocol.struct_numbers import check_exact

EDGE = 2.0**53


@dataclasses.dataclass
class Point:
    x: int
    share: float = 0.0


class Takes(Model):
    @task
    def take(
        self,
        whole: int,
        wide: float,
        points: list[Point],
        pair: tuple[str, int],
        named: dict[str, int | None],
        either: int | str,
        number: float,
        anything: Any,
    ) -> int:
        raise NotImplementedError


TYPES = {one.name: one.type for one in define(Takes).tasks[0].parameters}


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("whole", EDGE, "p"),
        ("whole", -(2**53), "p"),
        ("points", [{"x": 1}, {"x": EDGE}], "p[1].x"),
        ("pair", ["a", EDGE], "p[1]"),
        ("named", {"a": None, "b": EDGE}, "p.b"),
        ("either", EDGE, "p"),
    ],
)
def test_one_that_may_have_been_rounded_is_refused_with_its_place(name: str, value: Any, place: str) -> None:
    with pytest.raises(PillionError) as refused:
        check_exact(value, TYPES[name], "p", "send it otherwise")

    assert (place, "send it otherwise") == (refused.value.field, refused.value.remedy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whole", 2**53 - 1),
        ("whole", 1.5),
        ("wide", 1e300),
        ("points", [{"x": 1, "share": EDGE, "unknown": EDGE}]),
        ("points", "text"),
        ("pair", ["a"]),
        ("pair", {"a": EDGE}),
        ("named", {"a": 1}),
        ("named", None),
        ("either", "text"),
        ("number", EDGE),
        ("anything", EDGE),
    ],
)
def test_nothing_is_said_of_others_nor_of_what_has_another_form(name: str, value: Any) -> None:
    check_exact(value, TYPES[name], "p", "")
