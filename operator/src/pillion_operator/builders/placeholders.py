"""Placeholders of serving runtimes: `{{.Name}}`, `{{.Namespace}}`, `{{.Labels.x}}`, `{{.Annotations.x}}`.

Source: KServe, "Serving Runtimes"; there they are Go templates over the InferenceService's metadata, of which these
four forms are in use. One without a value is a problem of the plan, as it is an error in KServe: a server that is
started with the template's text does something that nobody asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject

__all__ = ["PlaceholderValues", "Unfilled", "fill_container", "unfilled"]

#: Only what begins as a field of the service: braces alone are anybody's, such as those of a chat template.
_REFERENCE: Final = re.compile(r"\{\{-?\s*\.[A-Za-z][^{}]*\}\}")
_PLACEHOLDER: Final = re.compile(r"\{\{\s*\.(Name|Namespace|(?:Labels|Annotations)\.[A-Za-z0-9._/-]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class PlaceholderValues:
    """What the placeholders stand for: parts of the InferenceService's metadata."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def fill(self, text: str) -> str:
        """Replace every placeholder; one without a value stays, for `unfilled` to find."""
        return _PLACEHOLDER.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        what, _, key = match[1].partition(".")
        if what == "Name":
            return self.name
        if what == "Namespace":
            return self.namespace
        source = self.labels if what == "Labels" else self.annotations
        return source.get(key, match[0])


@dataclass(frozen=True, slots=True)
class Unfilled:
    """A placeholder without a value: its text, and the field of the container that it stands in."""

    text: str
    field: str


def unfilled(container: JsonObject) -> Iterator[Unfilled]:
    """Yield what stands for nothing in a container whose placeholders have been replaced."""
    for field in ("command", "args"):
        texts = container.get(field)
        for index, text in enumerate(texts if isinstance(texts, list) else []):
            yield from _references(text, f"{field}[{index}]")
    env = container.get("env")
    for variable in env if isinstance(env, list) else []:
        if isinstance(variable, dict):
            yield from _references(variable.get("value"), f"env[{variable.get('name')}].value")


def _references(text: JsonValue, field: str) -> Iterator[Unfilled]:
    if isinstance(text, str):
        yield from (Unfilled(found[0], field) for found in _REFERENCE.finditer(text))


def fill_container(container: JsonObject, values: PlaceholderValues) -> JsonObject:
    """Return the container with placeholders replaced in `command`, `args` and the values of `env`."""
    filled = dict(container)
    for field in ("command", "args"):
        texts = container.get(field)
        if isinstance(texts, list):
            filled[field] = [values.fill(text) if isinstance(text, str) else text for text in texts]
    env = container.get("env")
    if isinstance(env, list):
        filled["env"] = [_fill_variable(variable, values) for variable in env]
    return filled


def _fill_variable(variable: JsonValue, values: PlaceholderValues) -> JsonValue:
    if isinstance(variable, dict) and isinstance(variable.get("value"), str):
        return variable | {"value": values.fill(str(variable["value"]))}
    return variable
