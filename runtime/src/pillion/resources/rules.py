"""Rules that span several fields: one statement of each, as CEL for the API server and as Python for everybody else.

A `Rule` stands on the model it is about. `violations` walks a parsed object; the schema generator writes the same
rules into the CRD. A test holds both forms to the same verdict on the same manifests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError, core_schema

from pillion.resources.base import ResourceModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core.core_schema import CoreSchema

#: The parts of a field's address: names as in the manifest, numbers for list items.
FieldPath = tuple[str | int, ...]


class Key(str):
    """A part that is the key of a map, which Kubernetes writes as it writes positions."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule about one model.

    Attributes:
        cel: the rule in CEL; `self` is the model.
        message: what is wrong and what to do, shown by kubectl and by the CLI.
        field: the field below the model that the error points at, dotted; empty for the model itself.
        holds: the same rule in Python.
    """

    cel: str
    message: str
    field: str = ""
    holds: Callable[[Any], bool]  # any model: each rule reads the one that it stands on, which mypy cannot relate

    def as_schema(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        return entry | ({"fieldPath": f".{self.field}"} if self.field else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRule:
    """A pattern on a text field, with a sentence of ours in place of the pattern itself in the error."""

    pattern: str
    message: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the pattern."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: str) -> str:
        if not matches(self.pattern, value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message})
        return value

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rule as CEL."""
        literal = self.pattern.replace("\\", "\\\\").replace("'", "\\'")
        rule = {"rule": f"self.matches('{literal}')", "message": self.message}
        return handler(schema) | {"x-kubernetes-validations": [rule]}


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, and where."""

    path: FieldPath
    rule: Rule


def violations(model: ResourceModel) -> Iterator[Violation]:
    """Yield every rule that does not hold on `model` or on a model inside it."""
    for path, inner in models_within(model):
        for rule in type(inner).rules:
            if not rule.holds(inner):
                yield Violation(path + tuple(rule.field.split(".") if rule.field else ()), rule)


def nulls(model: ResourceModel) -> Iterator[FieldPath]:
    """Yield the address of every field that was given null instead of being left out; server-side apply refuses it."""
    for path, inner in models_within(model):
        for name in inner.model_fields_set:
            if getattr(inner, name) is None:
                yield (*path, type(inner).model_fields[name].alias or name)


def models_within(value: object, path: FieldPath = ()) -> Iterator[tuple[FieldPath, ResourceModel]]:
    """Yield every model in `value`, itself included, with its address."""
    match value:
        case ResourceModel():
            yield path, value
            for name, field in type(value).model_fields.items():
                yield from models_within(getattr(value, name), (*path, field.alias or name))
        case dict():
            for key, item in value.items():
                yield from models_within(item, (*path, Key(key)))
        case list():
            for index, item in enumerate(value):
                yield from models_within(item, (*path, index))


def matches(pattern: str, text: str) -> bool:
    """Return whether `pattern` is found in `text` by RE2's rules: `$` is the very end, after any last newline."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), text) is not None
