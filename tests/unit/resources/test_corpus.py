"""Python's verdict on the manifests that tests/integration/resources puts to a real API server: both must agree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pillion.resources import load_manifests, validate
from pillion.resources.crd import KINDS, custom_resource_definition
from pillion.resources.honoured import unhonoured_fields
from pillion.resources.inferenceservice import InferenceService
from tests.integration.resources.corpus import ACCEPTED, REJECTED, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def messages(schema: object) -> Iterator[str]:
    """Yield the messages of all CEL rules."""
    match schema:
        case dict():
            for key, value in schema.items():
                if key == "x-kubernetes-validations":
                    yield from (rule["message"] for rule in value)
                else:
                    yield from messages(value)
        case list():
            for item in schema:
                yield from messages(item)


RULES = {message for kind in KINDS for message in messages(custom_resource_definition(kind))}

by_file = pytest.mark.parametrize("manifest", ACCEPTED, ids=lambda path: path.stem)
by_case = pytest.mark.parametrize("case", REJECTED, ids=lambda case: case.path.stem)


@by_file
def test_what_the_api_server_accepts_has_no_problem(manifest: Path) -> None:
    assert [] == validate(manifest.read_text())


@by_file
def test_what_the_api_server_accepts_is_read_and_written_unchanged(manifest: Path) -> None:
    for loaded in load_manifests(manifest.read_text()):
        assert loaded.resource is not None
        assert loaded.content == loaded.resource.to_api()


@by_file
def test_what_is_not_honoured_can_be_told_of_every_accepted_manifest(manifest: Path) -> None:
    services = [loaded.resource for loaded in load_manifests(manifest.read_text())]

    for service in services:
        if isinstance(service, InferenceService):
            assert all(field.field.startswith("spec.") for field in unhonoured_fields(service.spec))


@by_case
def test_what_the_api_server_refuses_has_one_problem_at_the_same_field(case: Rejected) -> None:
    (problem,) = validate(case.path.read_text())

    # Of labels and annotations the API server names the map, Python the key in it as well.
    assert case.field in (problem.field, ".".join(problem.field.split(".")[:2]))


@by_case
def test_a_problem_has_the_line_of_its_field(case: Rejected) -> None:
    text = case.path.read_text()
    (problem,) = validate(text)
    lines = text.splitlines()
    assert problem.line is not None
    named = [part for part in problem.path if isinstance(part, str)]

    # The line holds the field itself, or, where that is absent, one of the fields around it.
    assert not named or any(part in lines[problem.line - 1] for part in named)


def test_every_rule_of_the_definitions_has_a_manifest_that_breaks_it() -> None:
    broken = {case.says for case in REJECTED}

    assert set() == RULES - broken


@pytest.mark.parametrize("case", [case for case in REJECTED if case.says in RULES], ids=lambda case: case.path.stem)
def test_a_broken_rule_has_the_same_words_in_python_as_from_the_api_server(case: Rejected) -> None:
    assert [case.says] == [problem.message for problem in validate(case.path.read_text())]


def test_the_accepted_manifests_set_every_field_of_an_inference_service() -> None:
    written: set[str] = set()
    for manifest in ACCEPTED:
        for loaded in load_manifests(manifest.read_text()):
            written |= keys(loaded.content)
    known = keys_of_schema(json.loads(json.dumps(custom_resource_definition(KINDS[0]))))

    assert set() == known - written


def keys(value: object) -> set[str]:
    match value:
        case dict():
            return set(value).union(*map(keys, value.values()))
        case list():
            return set().union(*map(keys, value))
    return set()


def keys_of_schema(definition: dict[str, object]) -> set[str]:
    """Return the names of all fields below `spec`."""
    found: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            for name, field in node.get("properties", {}).items():
                found.add(name)
                walk(field)
            walk(node.get("items"))
            walk(node.get("additionalProperties"))

    spec = definition["spec"]
    assert isinstance(spec, dict)
    walk(spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])
    return found
