"""Annotations that carry Kubernetes' own schema vocabulary on Python types.

Each acts on the JSON schema, and, where it restricts values, on validation too, so that the CLI and the API
server agree. Source: Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions", structural schemas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic.alias_generators import to_snake
from pydantic_core import PydanticCustomError, core_schema

from pillion.resources.base import JsonObject

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core.core_schema import CoreSchema

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list whose items are told apart by `keys`: managers may each own items, duplicates are refused."""

    keys: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse two items of the same key, as the API server does."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, items: list[T]) -> list[T]:
        seen: set[tuple[object, ...]] = set()
        for item in items:
            identity = tuple(
                item.get(key) if isinstance(item, dict) else getattr(item, to_snake(key)) for key in self.keys
            )
            if identity in seen:
                described = ", ".join(f"{key} '{value}'" for key, value in zip(self.keys, identity, strict=True))
                raise PydanticCustomError("duplicate", "{described} stands twice; keep one", {"described": described})
            seen.add(identity)
        return items

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the list type and its keys."""
        return handler(schema) | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(self.keys)}


@dataclass(frozen=True, slots=True)
class AtomicList:
    """A list that one manager owns as a whole."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the list type."""
        return handler(schema) | {"x-kubernetes-list-type": "atomic"}


@dataclass(frozen=True, slots=True)
class OpenObject:
    """A Kubernetes type kept open: only the texts named `required` are checked, the rest where it is used."""

    required: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check that the required keys are there and are text."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: JsonObject) -> JsonObject:
        for key in self.required:
            if not isinstance(value.get(key), str):
                raise PydanticCustomError("open_object_key", "needs '{key}', a text", {"key": key, "reason": "missing"})
        return value

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return an object that keeps unknown fields."""
        schema: JsonSchemaValue = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        if self.required:
            schema["properties"] = {key: {"type": "string"} for key in self.required}
            schema["required"] = list(self.required)
        return schema


@dataclass(frozen=True, slots=True)
class IntegerOrText:
    """A number or a text of a given pattern, which Kubernetes calls int-or-string."""

    pattern: str = ""

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take a number or a text, with one error for both where it is neither."""
        return core_schema.no_info_plain_validator_function(self._check)

    def _check(self, value: object) -> int | str:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise PydanticCustomError(
                "int_or_string", "must be an integer or a text; put {value} in quotes", {"value": str(value)}
            )
        if self.pattern and isinstance(value, str) and not re.search(self.pattern.removesuffix("$") + r"\Z", value):
            raise PydanticCustomError(
                "quantity", "'{value}' is no quantity; write for example 500m, 2 or 1.5Gi", {"value": value}
            )
        return value

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return Kubernetes' own extension; the `anyOf` that often stands beside it says nothing more."""
        schema: JsonSchemaValue = {"x-kubernetes-int-or-string": True}
        return schema | ({"pattern": self.pattern} if self.pattern else {})


@dataclass(frozen=True, slots=True)
class AtomicMap:
    """An object that one manager owns as a whole, for references whose parts make no sense apart."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the map type."""
        return handler(schema) | {"x-kubernetes-map-type": "atomic"}


@dataclass(frozen=True, slots=True)
class Shallow:
    """A model that the CRD describes two levels deep only, to stay small; Python still checks all of it.

    Rules below the model's own are left to the operator and the CLI, and unknown fields below it are kept by the API
    server instead of refused. Its own fields keep their descriptions. With `keeping`, of the model's own fields only
    those are there that it names or that a rule of the model reads, and without descriptions.
    """

    keeping: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Leave a mark that the schema generator acts on when references are inlined."""
        return handler(schema) | {SHALLOW: list(self.keeping)}


#: The mark of `Shallow` in a schema under construction.
SHALLOW = "x-pillion-shallow"

#: `k8s.io/apimachinery`'s resource.Quantity in its text form.
QUANTITY_PATTERN = "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"

Quantity: TypeAlias = Annotated[int | str, IntegerOrText(QUANTITY_PATTERN)]
IntOrString: TypeAlias = Annotated[int | str, IntegerOrText()]
Open: TypeAlias = Annotated[JsonObject, OpenObject()]
NamedOpen: TypeAlias = Annotated[JsonObject, OpenObject(("name",))]

Count: TypeAlias = Annotated[int, Ge(0)]
Positive: TypeAlias = Annotated[int, Ge(1)]
Percent: TypeAlias = Annotated[int, Ge(0), Le(100)]
PortNumber: TypeAlias = Annotated[int, Ge(1), Le(65535)]

#: Texts have upper bounds where a CEL rule reads them: without, the API server refuses the rule for its cost.
Name: TypeAlias = Annotated[str, MinLen(1), MaxLen(253)]

#: Lists of named things: containers, volumes, environment variables.
NamedList: TypeAlias = Annotated[list[T], ListMap(("name",))]
AtomicOf: TypeAlias = Annotated[list[T], AtomicList()]
Texts: TypeAlias = Annotated[list[str], AtomicList()]
TextMap: TypeAlias = dict[str, str]
