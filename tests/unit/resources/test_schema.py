from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import pytest
from annotated_types import Ge, Le, MaxLen
from pydantic import Field

from pillion.resources.annotations import (
    AtomicMap,
    AtomicOf,
    IntOrString,
    NamedList,
    NamedOpen,
    Open,
    Quantity,
    Shallow,
    Texts,
)
from pillion.resources.base import JsonObject, ResourceModel
from pillion.resources.crd import KINDS, custom_resource_definition
from pillion.resources.descriptions import field_descriptions
from pillion.resources.reference import reachable
from pillion.resources.rules import Rule, TextRule
from pillion.resources.schema import EMBEDDED, StructuralSchema

if TYPE_CHECKING:
    from collections.abc import Iterator


class Spoke(ResourceModel):
    """One spoke."""

    name: str
    length: Annotated[int, Ge(1), Le(9)] | None = None
    """Its length in centimetres."""


class Wheel(ResourceModel):
    """A wheel. Its first paragraph describes it.

    This paragraph does not.
    """

    size: Quantity | None = None
    """The size."""

    mode: Literal["tube", "tubeless"] | None = None
    pressure: IntOrString = 3
    title: str | None = None
    hub: Annotated[Spoke, AtomicMap()] | None = None
    spokes: Annotated[NamedList[Spoke], MaxLen(36)] | None = None
    notes: Texts | None = None
    valves: AtomicOf[Open] | None = None
    bags: NamedList[NamedOpen] | None = None
    labels: dict[str, str] | None = None
    maker: Annotated[str, MaxLen(8), TextRule(pattern="^it's$", message="say it's")] | None = None
    from_: Annotated[str | None, Field(alias="from")] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(cel="has(self.hub)", message="a hub is needed", field="hub", holds=lambda wheel: wheel.hub is not None),
    )


class Bicycle(ResourceModel):
    """A bicycle."""

    front: Annotated[Wheel, Shallow()]
    """The front wheel."""

    spare: Annotated[Wheel, Shallow(keeping=("size",))]
    """The spare wheel."""


def schema_of(model: type[ResourceModel]) -> JsonObject:
    return dict(model.model_json_schema(by_alias=True, schema_generator=StructuralSchema))


SPOKE = {
    "type": "object",
    "description": "One spoke.",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "length": {"type": "integer", "minimum": 1, "maximum": 9, "description": "Its length in centimetres."},
    },
}

OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}

QUANTITY = "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("size", {"x-kubernetes-int-or-string": True, "pattern": QUANTITY, "description": "The size."}),
        ("mode", {"type": "string", "enum": ["tube", "tubeless"]}),
        ("pressure", {"x-kubernetes-int-or-string": True}),
        ("title", {"type": "string"}),
        ("hub", {**SPOKE, "x-kubernetes-map-type": "atomic"}),
        ("spokes", {"type": "array", "maxItems": 36, "items": SPOKE, **BY_NAME}),
        ("notes", {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"}),
        ("valves", {"type": "array", "items": OPEN, "x-kubernetes-list-type": "atomic"}),
        (
            "bags",
            {
                "type": "array",
                "items": {**OPEN, "properties": {"name": {"type": "string"}}, "required": ["name"]},
                **BY_NAME,
            },
        ),
        ("labels", {"type": "object", "additionalProperties": {"type": "string"}}),
        (
            "maker",
            {
                "type": "string",
                "maxLength": 8,
                "x-kubernetes-validations": [{"rule": r"self.matches('^it\'s$')", "message": "say it's"}],
            },
        ),
        ("from", {"type": "string"}),
    ],
)
def test_a_field_of_each_kind_has_its_structural_form(field: str, expected: JsonObject) -> None:
    properties = schema_of(Wheel)["properties"]

    assert isinstance(properties, dict)
    assert expected == properties[field]


def test_a_model_has_its_description_and_rules_and_nothing_required_that_may_be_absent() -> None:
    schema = schema_of(Wheel)
    del schema["properties"]

    assert {
        "type": "object",
        "description": "A wheel. Its first paragraph describes it.",
        "x-kubernetes-validations": [{"rule": "has(self.hub)", "message": "a hub is needed", "fieldPath": ".hub"}],
    } == schema


def test_a_shallow_model_that_names_its_fields_keeps_those_and_what_its_rules_read() -> None:
    properties = schema_of(Bicycle)["properties"]
    assert isinstance(properties, dict)
    spare = properties["spare"]
    assert isinstance(spare, dict)
    assert isinstance(spare["properties"], dict)

    assert {"size", "hub"} == spare["properties"].keys()
    assert spare["x-kubernetes-preserve-unknown-fields"] is True


def test_a_shallow_model_keeps_its_rules_and_the_plain_fields_of_what_is_inside() -> None:
    spoke = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "length": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["name"],
        "x-kubernetes-preserve-unknown-fields": True,
    }
    properties = schema_of(Bicycle)["properties"]
    assert isinstance(properties, dict)
    front = properties["front"]
    assert isinstance(front, dict)
    assert isinstance(front["properties"], dict)

    assert "The front wheel." == front["description"]
    assert [{"rule": "has(self.hub)", "message": "a hub is needed", "fieldPath": ".hub"}] == front[
        "x-kubernetes-validations"
    ]
    assert {**spoke, "description": "One spoke."} == front["properties"]["hub"], (
        "kubectl explain tells of its own fields"
    )
    assert {"type": "array", "maxItems": 36, "items": spoke, **BY_NAME} == front["properties"]["spokes"]


def nodes(schema: object, path: str = "") -> Iterator[tuple[str, dict[str, object]]]:
    """Yield every schema in a schema, with its address."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    yield from nodes(schema.get("items"), f"{path}[]")
    yield from nodes(schema.get("additionalProperties"), f"{path}{{}}")


def every_node() -> list[tuple[str, dict[str, object]]]:
    found: list[tuple[str, dict[str, object]]] = []
    for kind in KINDS:
        spec = custom_resource_definition(kind)["spec"]
        assert isinstance(spec, dict)
        versions = spec["versions"]
        assert isinstance(versions, list)
        version = versions[0]
        assert isinstance(version, dict)
        assert isinstance(version["schema"], dict)
        found += [(kind.name + path, node) for path, node in nodes(version["schema"]["openAPIV3Schema"])]
    return found


NODES = every_node()

KNOWN = {
    "type", "description", "properties", "required", "items", "additionalProperties", "enum", "pattern", "format",
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
}  # fmt: skip


def test_only_keywords_of_structural_schemas_are_used() -> None:
    # What tools wait for; see test_crd.
    awaited = [(f"{kind.name}.status", {"default"}) for kind in KINDS if kind.awaited]

    assert awaited == [(path, set(node) - KNOWN) for path, node in NODES if set(node) - KNOWN]


def test_every_node_has_a_type() -> None:
    assert [] == [path for path, node in NODES if "type" not in node and "x-kubernetes-int-or-string" not in node]


def test_properties_and_additional_properties_exclude_each_other() -> None:
    assert [] == [path for path, node in NODES if "properties" in node and "additionalProperties" in node]


def test_every_list_says_how_it_is_merged() -> None:
    assert [] == [path for path, node in NODES if node.get("type") == "array" and "x-kubernetes-list-type" not in node]


def test_every_object_says_what_it_may_hold() -> None:
    # The API server knows the type of metadata by itself.
    content = {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"}
    assert [] == [path for path, node in NODES if node.get("type") == "object" and not content & set(node)]


def test_the_keys_of_a_keyed_list_are_required_in_its_items() -> None:
    for path, node in NODES:
        items, keys = node.get("items"), node.get("x-kubernetes-list-map-keys", [])
        assert isinstance(items, dict | None)
        assert isinstance(keys, list)
        assert set(keys) <= set(items.get("required", []) if items else []), path


def test_descriptions_are_one_line_of_plain_sentences() -> None:
    described = [(path, str(node["description"])) for path, node in NODES if "description" in node]

    assert [] == [path for path, text in described if not re.fullmatch(r"[^\n]+[.]", text)]


def test_every_field_of_ours_has_a_docstring() -> None:
    known = {"api_version", "kind", "metadata"}
    missing = [
        f"{model.__name__}.{name}"
        for kind in KINDS
        for model in reachable(kind.model)
        if model.__module__ not in EMBEDDED
        for name, field in model.model_fields.items()
        if name not in known and name not in field_descriptions(model) and not embedded(model, name)
    ]

    assert [] == missing


def embedded(model: type[ResourceModel], name: str) -> bool:
    """Return whether the field comes from one of Kubernetes' own types."""
    return any(name in base.__annotations__ for base in model.__mro__ if base.__module__ in EMBEDDED)
