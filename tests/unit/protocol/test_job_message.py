"""Results of jobs, which are kept as JSON, as the values that they were."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray  # noqa: TC002 - annotations are read at run time

from pillion import File, Model, task
from pillion.authoring.results import plain
from pillion.authoring.signature import define
from pillion.authoring.unions import Chosen
from pillion.protocol.job_message import file_value, job_envelope, json_value
from pillion.protocol.task_file import file_headers, file_media_type
from pillion.protocol.task_json import encode_result
from pillion.protocol.task_schema import service_schema

if TYPE_CHECKING:
    from pillion.authoring.values import ValueType


@dataclasses.dataclass
class Cat:
    kind: Literal["cat"]
    lives: int = 9


@dataclasses.dataclass
class Dog:
    kind: Literal["dog"]


@dataclasses.dataclass
class Page:
    raw: bytes
    at: dt.datetime
    grid: NDArray[np.int32]
    cover: File | None = None


class Answers(Model):
    @task
    def page(self) -> Page:
        raise NotImplementedError

    @task
    def pet(self) -> list[Cat | Dog]:
        raise NotImplementedError

    @task
    def either(self) -> dict[str, int | str | None]:
        raise NotImplementedError

    @task
    def pair(self) -> tuple[bool, float]:
        raise NotImplementedError


def returned(name: str) -> ValueType:
    return next(one.returns for one in define(Answers).tasks if one.name == name)


def shown(value: Any) -> Any:
    """With what compares by identity as what it holds."""
    match value:
        case Chosen():
            return ("member", value.member, shown(value.value))
        case File():
            return (value.read(), value.filename, value.media_type)
        case np.ndarray():
            return (value.dtype.name, value.tolist())
        case dict():
            return {key: shown(one) for key, one in value.items()}
        case list() | tuple():
            return [shown(one) for one in value]
        case _:
            return value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", Page(b"\x00\xff", dt.datetime(2026, 5, 1, tzinfo=dt.UTC), np.array([1, 2], np.int32), File(b"x"))),
        ("page", Page(b"", dt.datetime(2026, 5, 1, 1, 2, 3, 4, tzinfo=dt.UTC), np.zeros((2, 0), np.int32))),
        ("pet", [Dog("dog"), Cat("cat", 3)]),
        ("either", {"a": 7, "b": "7", "c": None}),
        ("pair", (True, 1.0)),
    ],
)
def test_what_was_kept_is_what_was_given(name: str, value: object) -> None:
    declared = returned(name)
    given = plain(value, declared, "result")
    assert shown(given) == shown(json_value(orjson.loads(encode_result(given)), declared))


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("page", {"raw": "AP8="}),
        ("page", {"raw": "?", "at": "2026-05-01T00:00:00Z", "grid": []}),
        ("pet", [{"kind": "bird"}]),
        ("pet", [{"kind": "cat", "lives": "nine"}]),
        ("either", {"a": [1]}),
        ("pair", [True]),
        ("pair", [1, 1.0]),
    ],
)
def test_what_is_of_another_type_is_told(name: str, document: object) -> None:
    with pytest.raises(ValueError, match=r"another type|shorter|argument"):
        json_value(document, returned(name))


def test_a_file_has_the_name_that_it_was_given() -> None:
    given = File(b"x", filename='grün "1".wav', media_type="audio/wav")
    found = file_value(b"x", file_media_type(given), file_headers(given))
    assert found is not None
    assert (b"x", 'grün "1".wav', "audio/wav") == (found.read(), found.filename, found.media_type)
    assert file_value(b"{}", "application/json", {}) is None


class Counts(Model):
    @task
    def add(self, counts: dict[str, int]) -> int:
        raise NotImplementedError


def test_a_job_is_kept_with_its_keys_sorted_so_that_other_processes_know_it_again() -> None:
    (signature,) = define(Counts).tasks
    (method,) = service_schema("Counts", [signature]).methods
    message: Any = method.request()
    for name in "hgfedcba":
        message.counts[name] = ord(name)

    kept = job_envelope(message, signature, "counts")

    counts = {name: ord(name) for name in "abcdefgh"}
    assert orjson.dumps({"model_id": "counts", "parameters": {"counts": counts}}) == kept
