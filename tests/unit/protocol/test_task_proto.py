"""Tasks as protobuf messages."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from google.protobuf import json_format
from numpy.typing import NDArray  # noqa: TC002 - annotations are read at run time
from pydantic import BaseModel, Field

from pillion import File, Model, task
from pillion.authoring.results import plain
from pillion.authoring.signature import define
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.task_message import decode_request, encode_response
from pillion.protocol.task_schema import service_schema

if TYPE_CHECKING:
    from google.protobuf.message import Message


@dataclasses.dataclass
class Node:
    name: str
    children: list[Node] = dataclasses.field(default_factory=list)
    seen: dt.datetime | None = None


@dataclasses.dataclass
class Picture:
    pixels: NDArray[np.uint8]


class Aliased(BaseModel):
    given: int = Field(alias="Given")


class Sample(Model):
    @task
    def scalars(self, text: str, count: int = 1, share: float = 0.5, *, sure: bool = True, raw: bytes = b"x") -> int:
        return count

    @task
    def nested(
        self,
        node: Node,
        grid: list[list[float]],
        counts: dict[str, int],
        lists: dict[str, list[int]] | None = None,
        gaps: list[int | None] | None = None,
        anything: Any = None,
    ) -> Node:
        return node

    @task
    def see(self, picture: Picture, arrays: list[np.ndarray]) -> Picture:
        return picture

    @task
    def alias(self, one: Aliased) -> Aliased:
        return one

    @task
    def echo(self, file: File) -> File:
        return file

    @task
    def large(self) -> int:
        return 2**70


TASKS = {signature.name: signature for signature in define(Sample).tasks}
SCHEMA = service_schema("Sample", list(TASKS.values()))
METHODS = {method.task: method for method in SCHEMA.methods}


def decoded(name: str, body: dict[str, Any]) -> dict[str, Any]:
    message: Message = json_format.ParseDict(body, METHODS[name].request())
    return decode_request(METHODS[name], TASKS[name], message.SerializeToString())


def answered(name: str, value: Any) -> dict[str, Any]:
    declared = TASKS[name].returns
    body = encode_response(METHODS[name], TASKS[name], plain(value, declared, "it"))
    shown: dict[str, Any] = json_format.MessageToDict(METHODS[name].response.FromString(body))
    return shown


def test_numbers_of_fields_are_the_order_of_declaration() -> None:
    fields = METHODS["scalars"].request.DESCRIPTOR.fields
    assert [("text", 1), ("count", 2), ("share", 3), ("sure", 4), ("raw", 5)] == [(f.name, f.number) for f in fields]


def test_empty_values_are_values_and_what_is_left_out_is_not() -> None:
    zeros = {"text": "", "count": 0, "share": 0, "sure": False, "raw": ""}
    assert {"text": "", "count": 0, "share": 0.0, "sure": False, "raw": b""} == decoded("scalars", zeros)
    assert {"text": "a"} == decoded("scalars", {"text": "a"})


def test_what_is_nested_comes_through() -> None:
    given = decoded(
        "nested",
        {
            "node": {"name": "a", "children": [{"name": "b", "seen": "2026-01-02T03:04:05Z"}]},
            "grid": [{"value": [1, 2]}, {"value": []}],
            "counts": {"x": 1},
            "lists": {"value": {"y": {"value": [3]}}},
            "gaps": {"value": [{"value": 0}, {}]},
            "anything": {"a": [1, 1.5, None, "b", True]},
        },
    )
    seen = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert Node("a", [Node("b", seen=seen)]) == given["node"]
    assert [[1.0, 2.0], []] == given["grid"]
    assert ({"x": 1}, {"y": [3]}, [0, None]) == (given["counts"], given["lists"], given["gaps"])
    assert {"a": [1, 1.5, None, "b", True]} == given["anything"]


def test_none_and_an_empty_list_differ_where_a_list_may_be_none() -> None:
    minimal = {"node": {"name": "a"}, "grid": [], "counts": {}}
    assert "gaps" not in decoded("nested", minimal)
    assert [] == decoded("nested", minimal | {"gaps": {}})["gaps"]


def test_arrays_are_raw_data_or_numbers() -> None:
    given = decoded("see", {"picture": {"pixels": {"shape": [1, 2], "dtype": "uint8", "data": "AQI="}},
                            "arrays": [{"values": [1, 2]}, {"values": [1.5], "dtype": "float32"}]})  # fmt: skip
    assert (np.uint8, [[1, 2]]) == (given["picture"].pixels.dtype, given["picture"].pixels.tolist())
    assert ([1, 2], np.float32) == (given["arrays"][0].tolist(), given["arrays"][1].dtype)


def test_an_array_comes_back_as_raw_data() -> None:
    shown = answered("see", Picture(np.array([[1, 2]], np.uint8)))
    assert {"result": {"pixels": {"dtype": "uint8", "shape": ["1", "2"], "data": "AQI="}}} == shown


def test_a_file_is_its_bytes_with_name_and_type() -> None:
    file = decoded("echo", {"file": {"data": "YWJj", "filename": "a.txt"}})["file"]
    assert (b"abc", "a.txt", "text/plain") == (file.read(), file.filename, file.media_type)
    assert {"result": {"data": "YWJj", "filename": "a.txt", "media_type": "text/plain"}} == answered("echo", file)


def test_aliases_are_for_json_and_names_for_protobuf() -> None:
    assert {"one": Aliased(Given=3)} == decoded("alias", {"one": {"given": 3}})
    assert {"result": {"given": "3"}} == answered("alias", Aliased(Given=3))


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("scalars", {}, "text"),
        ("nested", {"node": {"children": [{}]}, "grid": [], "counts": {}}, "node.name"),
        ("nested", {"grid": [], "counts": {}}, "node"),
        ("see", {"picture": {"pixels": {"values": [300]}}}, "picture.pixels"),
    ],
)
def test_what_does_not_fit_is_named(name: str, body: dict[str, Any], field: str) -> None:
    with pytest.raises(PillionError) as failure:
        decoded(name, body)
    assert (ErrorCode.INVALID_ARGUMENT, field) == (failure.value.code, failure.value.field)


@pytest.mark.parametrize(
    "array", [{"shape": [3], "values": [1, 2]}, {"dtype": "object", "data": "AQI="}, {"dtype": "no", "values": [1]}]
)
def test_an_array_that_cannot_be_read_is_refused(array: dict[str, Any]) -> None:
    with pytest.raises(PillionError, match="an Array cannot be read"):
        decoded("see", {"picture": {"pixels": array}, "arrays": []})


def test_a_message_of_another_kind_is_refused() -> None:
    with pytest.raises(PillionError, match="no ScalarsPredict request"):
        decode_request(METHODS["scalars"], TASKS["scalars"], b"\xff\xff")


def test_a_number_that_does_not_fit_is_the_models_failure() -> None:
    with pytest.raises(PillionError) as failure:
        answered("large", 2**70)
    assert ErrorCode.MODEL_FAILED is failure.value.code
