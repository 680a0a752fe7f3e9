"""Rules that span several fields: one statement of each, as CEL for the API server and as Python for everybody else.

A `Rule` stands on the model it is about. `violations` walks a parsed object; the schema generator writes the same
rules into the CRD. A test holds both forms to the same verdict on the same manifests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticCustomError, core_schema

from pillion.resources.base import ResourceModel

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core.core_schema import CoreSchema

#: The parts of a field's address: names as in the manifest, numbers for list items.
FieldPath = tuple[str | int, ...]


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
        if re.search(self.pattern, value) is None:
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


def violations(model: ResourceModel, path: FieldPath = ()) -> Iterator[Violation]:
    """Yield every rule that does not hold on `model` or on a model inside it."""
    for rule in type(model).rules:
        if not rule.holds(model):
            yield Violation(path + tuple(rule.field.split(".") if rule.field else ()), rule)
    for name, field in type(model).model_fields.items():
        yield from _inside(getattr(model, name), (*path, field.alias or name))


def _inside(value: object, path: FieldPath) -> Iterator[Violation]:
    if isinstance(value, ResourceModel):
        yield from violations(value, path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _inside(item, (*path, key))
    elif isinstance(value, Sequence) and not isinstance(value, str) and not isinstance(value, BaseModel):
        for index, item in enumerate(value):
            yield from _inside(item, (*path, index))


def matches(pattern: str, text: str) -> bool:
    """Return whether `pattern` is found in `text`, as CEL's `matches` has it."""
    return re.search(pattern, text) is not None
