"""Tasks in JSON: numbers of any size stay what they are, and what is no number is told."""

from __future__ import annotations

from typing import Any

import pytest

from pillion import Model, task
from pillion.authoring.results import plain
from pillion.authoring.signature import define
from pillion.errors import PillionError
from pillion.protocol.job_message import job_envelope
from pillion.protocol.task_form import FormPart, form_arguments, form_body
from pillion.protocol.task_json import decode_arguments, encode_result, open_envelope
from pillion.protocol.task_schema import service_schema

_LARGE = 2**64 + 1
"""A float would make 2**64 of it."""


class Numbers(Model):
    @task
    def one(self, number: int, other: int = 0) -> int:
        raise NotImplementedError

    @task
    def several(self, number: int, anything: Any) -> Any:
        raise NotImplementedError

    @task
    def halves(self, counts: dict[str, float]) -> float:
        raise NotImplementedError


TASKS = {one.name: one for one in define(Numbers).tasks}


def part(name: str, content: str, media_type: str = "") -> FormPart:
    return FormPart(name, media_type, content.encode())


@pytest.mark.parametrize("number", [_LARGE, -_LARGE, 2**64 - 1, -(2**63)])
def test_integers_of_any_size_stay_what_they_are_whichever_way_they_come(number: int) -> None:
    given = {"number": number, "other": number}
    flat = decode_arguments(TASKS["one"], b'{"number":%d,"other":%d}' % (number, number))
    opened = open_envelope(b' {"model_id": "m", "inputs": %d , "parameters": {"other": %d}}' % (number, number))
    form = [part("inputs", str(number)), part("parameters", f'{{"other": {number}}}', "application/json")]
    kept = open_envelope(form_body(form, TASKS["one"]))
    assert [given] * 4 == [
        flat,
        opened.arguments(TASKS["one"]),
        form_arguments(form, TASKS["one"], envelope=True),
        kept.arguments(TASKS["one"]),
    ]
    assert "m" == opened.model


def test_an_object_as_inputs_gives_its_fields_as_they_were_sent() -> None:
    body = b'{"inputs": {"number": %d, "anything": {"a": [%d, null, "\\u00e9"]}}}' % (_LARGE, _LARGE)
    given = open_envelope(body).arguments(TASKS["several"])
    assert {"number": _LARGE, "anything": {"a": [_LARGE, None, "é"]}} == given


def test_an_object_as_the_only_argument_is_given_whole() -> None:
    given = open_envelope(b'{"model_id": "m", "inputs": {"a": 1.5, "b": null}}')
    with pytest.raises(PillionError, match=r"counts\.b|inputs\.b"):
        given.arguments(TASKS["halves"])
    whole = open_envelope(b'{"inputs": {"a": 1.5, "b": 2}, "parameters": {}}')
    assert {"counts": {"a": 1.5, "b": 2.0}} == whole.arguments(TASKS["halves"])
    assert {"counts": {}} == open_envelope(b'{"inputs": {}}').arguments(TASKS["halves"])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is not valid JSON"),
        (b'{"inputs": 1', "the body is not valid JSON"),
        (b'{"inputs": [NaN]}', "the body is not valid JSON"),
        (b'{"inputs": {"a\\x": 1}}', "the body is not valid JSON"),
        (b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}", "the body is not valid JSON"),
        (b'{"inputs": "\xff"}', "the body is not valid JSON"),
        (b"[1]", "body: should be a JSON object"),
        (b'{"inputs": 1, "input": 2}', "input: there is no such field"),
        (b'{"inputs": 1, "parameters": []}', "parameters: should be a JSON object"),
        (b'{"inputs": 1, "model_id": 3}', "model_id: should be text"),
        (b'{"inputs": 1, "parameters": {"number": 2}}', "parameters.number: it is in inputs, too"),
    ],
)
def test_a_body_that_does_not_fit_is_told(body: bytes, sentence: str) -> None:
    with pytest.raises(PillionError, match=sentence) as refused:
        open_envelope(body).arguments(TASKS["one"])
    assert "invalid_argument" == refused.value.code


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (_LARGE, b"18446744073709551617"),
        ({"a": [-_LARGE, None, 1.5], "b": b"hi"}, b'{"a":[-18446744073709551617,null,1.5],"b":"aGk="}'),
    ],
)
def test_a_result_has_integers_of_any_size(value: Any, text: bytes) -> None:
    assert text == encode_result(value)


def test_a_number_that_is_none_is_no_null_whatever_was_declared() -> None:
    found = plain({"scores": [1.0, float("nan")], "note": None}, TASKS["several"].returns, "result")
    with pytest.raises(PillionError, match=r"holds nan at \['scores'\]\[1\], which JSON cannot carry") as refused:
        encode_result(found)
    assert "model_failed" == refused.value.code


def test_a_job_by_grpc_with_what_json_cannot_keep_is_its_clients_error() -> None:
    (method,) = service_schema("Numbers", [TASKS["halves"]]).methods
    message: Any = method.request()
    message.counts["a"] = float("inf")
    with pytest.raises(PillionError, match=r"cannot be kept as JSON: it holds inf at \['parameters'\]") as refused:
        job_envelope(message, TASKS["halves"], "numbers")
    assert "invalid_argument" == refused.value.code
