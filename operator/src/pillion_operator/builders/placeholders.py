"""Placeholders of serving runtimes: `{{.Name}}`, `{{.Namespace}}`, `{{.Labels.x}}`, `{{.Annotations.x}}`.

Source: KServe, "Serving Runtimes"; there they are Go templates over the InferenceService's metadata, of which these
four forms are in use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject

_PLACEHOLDER: Final = re.compile(r"\{\{\s*\.(Name|Namespace|(?:Labels|Annotations)\.[A-Za-z0-9._/-]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class PlaceholderValues:
    """What the placeholders stand for: parts of the InferenceService's metadata."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def fill(self, text: str) -> str:
        """Replace every placeholder; one without a value stays, so that it shows up where it is used."""
        return _PLACEHOLDER.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        what, _, key = match[1].partition(".")
        if what == "Name":
            return self.name
        if what == "Namespace":
            return self.namespace
        source = self.labels if what == "Labels" else self.annotations
        return source.get(key, match[0])


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
