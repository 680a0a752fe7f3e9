"""``models.json`` as a reader of another release sees it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pillion import modelsfile
from pillion.modelsfile import DeclaredModel, ModelsFileError

ONE: dict[str, Any] = {"id": "one/1", "name": "one", "version": "1", "uri": "s3://models/one.onnx"}


def read(*models: Any, **fields: Any) -> modelsfile.FoundModels:
    return modelsfile.load(json.dumps({"apiVersion": "runtime.pillion.dev/v1", "models": models, **fields}))


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ({"colour": "red"}, "unknown field `colour`"),
        ({"picklePolicy": "sometimes"}, "sometimes"),
        ({"uri": None}, r"\$\.uri"),
        ({"store": "../x"}, "store must be the name of a file"),
        ({"execution": {"mode": "elsewhere"}}, r"\$\.execution"),
    ],
)
def test_a_model_that_is_not_understood_is_refused_alone(difference: dict[str, Any], said: str) -> None:
    found = read(ONE, ONE | {"name": "other", "id": "other/1"} | difference)

    assert (DeclaredModel(**ONE),) == found.models
    (refused,) = found.refused
    assert ("other", "other/1") == (refused.name, refused.id)
    assert refused.reason.startswith("its declaration is not understood by this runtime, Pillion ")
    assert re.search(said, refused.reason)


@pytest.mark.parametrize(
    ("models", "fields", "said"),
    [
        ([{"colour": "red"}], {}, r"^models\[0\]: "),
        ([ONE, ONE | {"colour": "red"}], {}, r"^model 'one' is declared twice$"),
        ([ONE], {"colours": []}, "unknown field `colours`"),
        ([ONE], {"apiVersion": "runtime.pillion.dev/v2"}, "runtime.pillion.dev/v2"),
        ([ONE | {"name": f"m{number}"} for number in range(513)], {}, "<= 512"),
    ],
)
def test_what_says_nothing_of_one_model_refuses_the_file(models: list[Any], fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelsFileError, match=said):
        read(*models, **fields)


@pytest.mark.parametrize(
    "text",
    [
        b'{"models": [{"id": "one/1", "name": "one", "version": "\xff"}]}',
        b'{"models": [{"id": "one/1", "name": "one", "config": %s}]}' % (b"[" * 20_000 + b"]" * 20_000),
        b'{"models": [{"id": "one/1", "name": "one"',
    ],
)
def test_what_is_no_json_or_too_deep_refuses_the_file(text: bytes) -> None:
    with pytest.raises(ModelsFileError):
        modelsfile.load(text)


def test_a_writer_finds_out_before_that_a_model_would_be_refused() -> None:
    modelsfile.check(DeclaredModel(**ONE))
    with pytest.raises(ModelsFileError, match="name"):
        modelsfile.check(DeclaredModel(**ONE | {"name": "not a name"}))
