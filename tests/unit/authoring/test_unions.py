"""Unions and tuples: in requests, in results, and in protobuf."""

from __future__ import annotations

import dataclasses
import datetime as dt  # noqa: TC003 - annotations are read at run time, here and below
import enum
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from google.protobuf import json_format
from openapi_spec_validator import validate
from pydantic import BaseModel, Field

from pillion import Model, task
from pillion.authoring.errors import ResultError
from pillion.authoring.examples import example
from pillion.authoring.results import plain
from pillion.authoring.signature import define
from pillion.dataplane.tasks import ServedTask
from pillion.errors import PillionError
from pillion.protocol.task_json import decode_arguments, encode_result
from pillion.protocol.task_message import decode_request, encode_response
from pillion.protocol.task_schema import service_schema
from pillion.transport.http.openapi import document


class Tone(enum.StrEnum):
    DRY = "dry"
    WARM = "warm"


@dataclasses.dataclass
class Cat:
    kind: Literal["cat"]
    lives: int


@dataclasses.dataclass
class Dog:
    kind: Literal["dog"]
    name: str
    tricks: list[str] = dataclasses.field(default_factory=list)


class Add(BaseModel):
    op: Literal["add"] = "add"
    left: Expression
    right: Expression


class Number(BaseModel):
    op: Literal["number"] = "number"
    value: float


Expression = Annotated[Add | Number, Field(discriminator="op")]
Add.model_rebuild()


@dataclasses.dataclass
class Point:
    x: float


@dataclasses.dataclass
class Name:
    x: str


class Zoo(Model):
    @task
    def keep(
        self,
        pet: Cat | Dog,
        number: int | str = 0,
        place: tuple[float, str] | None = None,
        pets: list[Cat | Dog] | None = None,
        term: Expression | None = None,
        day: dt.date | int | None = None,
        named: Name | list[int] | None = None,
        tone: Tone | Literal[1, 2] | None = None,
    ) -> Cat | Dog | str:
        return pet

    @task
    def untagged(self) -> Point | Name | list[int] | float | None:
        return None

    @task
    def pair(self) -> list[tuple[int, str | None]]:
        return [(1, "a")]


TASKS = {signature.name: signature for signature in define(Zoo).tasks}
SCHEMA = service_schema("Zoo", list(TASKS.values()))
METHODS = {method.task: method for method in SCHEMA.methods}
CAT = '"pet": {"kind": "cat", "lives": 9}'


def decoded(body: str) -> dict[str, Any]:
    return decode_arguments(TASKS["keep"], body.encode())


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("number", '"a"', "a"),
        ("number", "3", 3),
        ("place", '[1.5, "b"]', (1.5, "b")),
        ("pets", '[{"kind": "dog", "name": "a"}, {"kind": "cat", "lives": 1}]', [Dog("dog", "a"), Cat("cat", 1)]),
        ("term", '{"op": "add", "left": {"op": "number", "value": 1}, "right": {"op": "number", "value": 2}}',
         Add(left=Number(value=1), right=Number(value=2))),
        ("named", '{"x": "a"}', Name("a")),
        ("named", "[1, 2]", [1, 2]),
        ("tone", '"warm"', Tone.WARM),
        ("tone", "2", 2),
    ],
)  # fmt: skip
def test_a_value_is_read_as_the_member_that_it_fits(field: str, value: str, expected: object) -> None:
    assert {"pet": Cat("cat", 9), field: expected} == decoded(f'{{{CAT}, "{field}": {value}}}')


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"pet": {"kind": "cat", "lives": "x"}}', "pet.lives: should be a valid integer"),
        ('{"pet": {"kind": "cow"}}', "pet: should be one of 'cat', 'dog' by its tag"),
        ('{"pet": {"lives": 1}}', "pet: has no 'kind', which says what it is"),
        (f'{{{CAT}, "number": [1]}}', "number: should be a valid integer (as int); number: should be a valid string"),
        (f'{{{CAT}, "pets": [{{"kind": "cat", "lives": 1}}, {{"kind": "dog"}}]}}', "pets[1].name: is missing"),
        (f'{{{CAT}, "term": {{"op": "add", "left": {{"op": "number", "value": "x"}}, "right": {{"op": "number"}}}}}}',
         "term.left.value: should be a valid number, unable to parse string as a number; term.right.value: is missing"),
        (f'{{{CAT}, "place": [1]}}', "place[1]: is missing"),
        (f'{{{CAT}, "named": {{"x": 5}}}}', "named.x: should be a valid string (as Name); named: should be a valid"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_the_path_that_the_sender_knows(body: str, sentence: str) -> None:
    with pytest.raises(PillionError) as failure:
        decoded(body)
    assert failure.value.message.startswith(sentence)


@pytest.mark.parametrize(
    ("name", "value", "json", "message"),
    [
        ("keep", Cat("cat", 3), b'{"kind":"cat","lives":3}', {"cat": {"kind": "cat", "lives": "3"}}),
        ("keep", {"kind": "dog", "name": "a"}, b'{"kind":"dog","name":"a"}', {"dog": {"kind": "dog", "name": "a"}}),
        ("keep", "text", b'"text"', {"string": "text"}),
        ("untagged", Name("a"), b'{"x":"a"}', {"name": {"x": "a"}}),
        ("untagged", Point(1), b'{"x":1.0}', {"point": {"x": 1}}),
        ("untagged", np.array([1, 2]), b"[1,2]", {"list": {"value": ["1", "2"]}}),
        ("untagged", np.float32(0.5), b"0.5", {"number": 0.5}),
        ("untagged", None, b"null", None),
    ],
)
def test_a_result_says_over_grpc_which_member_it_is(name: str, value: Any, json: bytes, message: Any) -> None:
    method, signature = METHODS[name], TASKS[name]
    made = plain(value, signature.returns, "it")
    assert json == encode_result(made)
    answer = method.response.FromString(encode_response(method, signature, made))
    shown: dict[str, Any] = json_format.MessageToDict(answer)
    assert message == shown.get("result")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("keep", Cat("cat", "x"), "it.lives is str, and an int is declared"),  # type: ignore[arg-type] # wrong on purpose
        ("keep", 5, "it is int, and one of cat, dog, string is declared"),
        ("pair", [(1, "a", 2)], r"it\[0\] holds 3 values, and 2 are declared"),
        ("pair", [(1, 2)], r"it\[0\]\[1\] is int, and a str is declared"),
    ],
)
def test_a_result_of_no_member_is_the_models_failure(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(ResultError, match=sentence):
        plain(value, TASKS[name].returns, "it")


def test_over_grpc_the_member_is_named_and_its_tag_may_be_left_out() -> None:
    body: dict[str, Any] = {
        "pet": {"dog": {"name": "a"}},
        "number": {"string": "x"},
        "place": {"item1": 1.5, "item2": "b"},
        "pets": {"value": [{"cat": {"lives": 1}}]},
        "term": {"add": {"left": {"number": {"value": 1}}, "right": {"number": {"value": 2}}}},
        "tone": {"choice": 2},
    }
    given = decode_request(
        METHODS["keep"], TASKS["keep"], json_format.ParseDict(body, METHODS["keep"].request()).SerializeToString()
    )
    expected = {"pet": Dog("dog", "a"), "number": "x", "place": (1.5, "b"), "pets": [Cat("cat", 1)], "tone": 2}
    assert expected | {"term": Add(left=Number(value=1), right=Number(value=2))} == given


def test_a_tag_that_contradicts_the_member_is_refused() -> None:
    method = METHODS["keep"]
    message = json_format.ParseDict({"pet": {"dog": {"name": "a", "kind": "cat"}}}, method.request())
    with pytest.raises(PillionError, match=r"dog\.kind: 'cat' does not mean dog"):
        decode_request(method, TASKS["keep"], message.SerializeToString())


def test_the_example_of_a_union_is_one_of_its_first_member() -> None:
    assert {"kind": "cat", "lives": 0} == example(TASKS["keep"].parameters[0].type)
    assert [0.0, "text"] == example(TASKS["keep"].parameters[2].type)


def test_the_documentation_tells_members_apart_by_their_tag() -> None:
    described = document([], [ServedTask("zoo", "1", signature) for signature in TASKS.values()])
    validate(described)
    schema = described["components"]["schemas"]["KeepArguments"]["properties"]["pet"]
    # What has a default may be left out of a request and never of an answer, so each is described twice.
    mapping = {"cat": "#/components/schemas/Cat-Input", "dog": "#/components/schemas/Dog-Input"}
    assert {"propertyName": "kind", "mapping": mapping} == schema["discriminator"]
