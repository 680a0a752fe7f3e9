"""Structural schemas, as CustomResourceDefinitions want them, from the pydantic models.

What pydantic writes is ordinary JSON Schema. A CRD takes a part of it: no references, no null, no `const`, one
`anyOf` only, never `properties` beside `additionalProperties`. Source: Kubernetes, "Extend the Kubernetes API with
CustomResourceDefinitions", specifying a structural schema.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from pillion.resources import core, pod
from pillion.resources.annotations import SHALLOW
from pillion.resources.base import JsonObject, ResourceModel
from pillion.resources.descriptions import class_description, field_descriptions

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

#: Models of these modules repeat Kubernetes' own types: their descriptions would triple the CRD and say nothing new.
EMBEDDED = {core.__name__, pod.__name__}


class StructuralSchema(GenerateJsonSchema):
    """Generates a structural schema: references inlined, Optional means absent, Literal becomes an enumeration."""

    def generate(self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """Return the schema of one model, complete in itself."""
        generated = super().generate(schema, mode)
        definitions = cast("dict[str, JsonSchemaValue]", generated.pop("$defs", {}))
        return cast("JsonSchemaValue", _inlined(generated, definitions))

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Optional: the field may be absent; null is refused, as the API server refuses it."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """No default is written into objects: it would show as a difference to the manifest in git."""
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """Literal: an enumeration of texts, also where there is one value only."""
        return {"type": "string", "enum": list(schema["expected"])}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """A model: its fields with their docstrings, and its rules as CEL."""
        model = schema["cls"]
        if not issubclass(model, ResourceModel):
            raise TypeError(f"{model.__name__} is no ResourceModel")
        generated = super().model_schema(schema)
        generated.pop("additionalProperties", None)
        generated.pop("description", None)
        if model.__module__ not in EMBEDDED:
            generated["description"] = class_description(model)
        described = field_descriptions(model)
        for name, field in model.model_fields.items():
            if name in described:
                generated["properties"][field.alias or name]["description"] = described[name]
        if model.rules:
            generated["x-kubernetes-validations"] = [rule.as_schema() for rule in model.rules]
        return generated

    def field_title_should_be_set(self, schema: object) -> bool:
        """No titles: a structural schema has no use for them."""
        del schema
        return False


def structural_schema(model: type[ResourceModel]) -> JsonObject:
    """Return the structural schema of a kind: `openAPIV3Schema` of its CRD."""
    schema = cast("JsonObject", model.model_json_schema(by_alias=True, schema_generator=StructuralSchema))
    properties = cast("dict[str, JsonObject]", schema["properties"])
    properties["apiVersion"] = {"type": "string", "description": "The group and version of this kind."}
    properties["kind"] = {"type": "string", "description": "The kind."}
    # Only name may be described here; its bound lets rules read it within the cost budget.
    properties["metadata"] = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}}
    schema["required"] = ["spec"]
    return schema


def _inlined(node: object, definitions: dict[str, JsonSchemaValue]) -> object:
    match node:
        case {"$ref": str(reference), **siblings}:
            target = cast("JsonSchemaValue", _inlined(definitions[reference.rpartition("/")[2]], definitions))
            merged = target | cast("JsonSchemaValue", _inlined(siblings, definitions))
            keeping = cast("list[str] | None", merged.pop(SHALLOW, None))
            return merged if keeping is None else _shallow(merged, keeping)
        case dict():
            # `title` is a keyword here and a field's name one level down.
            return {
                key: {name: _inlined(item, definitions) for name, item in value.items()}
                if key == "properties"
                else _inlined(value, definitions)
                for key, value in node.items()
                if key != "title"
            }
        case list():
            return [_inlined(item, definitions) for item in node]
    return node


def _shallow(schema: JsonSchemaValue, keeping: list[str]) -> JsonSchemaValue:
    """Keep the model's own fields and rules, and of the objects inside it the plain fields only."""
    fields = {name: _plain(field) for name, field in schema["properties"].items()}
    if not keeping:
        told = {name: field["description"] for name, field in schema["properties"].items() if "description" in field}
        described = {
            name: {"description": told[name]} | field if name in told else field for name, field in fields.items()
        }
        return schema | {"properties": described}
    rules = " ".join(rule["rule"] for rule in schema.get("x-kubernetes-validations", []))
    kept = {*keeping, *re.findall(r"\bself\.(\w+)", rules)}
    return schema | {
        "properties": {name: field for name, field in fields.items() if name in kept},
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _plain(field: JsonSchemaValue) -> JsonSchemaValue:
    field = {key: value for key, value in field.items() if key != "description"}
    match field:
        case {"type": "array", "items": {"type": "object"} as item}:
            return field | {"items": _opened(item)}
        case {"type": "object", "properties": _}:
            return _opened(field)
    return field


def _opened(schema: JsonSchemaValue) -> JsonSchemaValue:
    keywords = ("type", "maxLength", "minLength", "minimum", "maximum")
    plain = {
        name: {key: field[key] for key in keywords if key in field}
        for name, field in schema.get("properties", {}).items()
        if field.get("type") in ("string", "integer", "boolean")
    }
    required = [name for name in schema.get("required", []) if name in plain]
    opened: JsonSchemaValue = {"type": "object", "properties": plain, "x-kubernetes-preserve-unknown-fields": True}
    return opened | ({"required": required} if required else {})
