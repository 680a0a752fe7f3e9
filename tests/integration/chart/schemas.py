"""JSON schemas of every kind that an API server knows, in the layout that kubeconform reads."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def write_schemas(openapi: dict[str, Any], folder: Path) -> None:
    """Write one file with all definitions and, for each kind, `KIND-GROUP-VERSION.json` that refers to it."""
    definitions = {name: _strict(definition) for name, definition in openapi["definitions"].items()}
    (folder / "definitions.json").write_text(json.dumps({"definitions": definitions}))
    for name, definition in openapi["definitions"].items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            group = kind["group"].partition(".")[0]
            parts = [kind["kind"].lower(), *([group] if group else []), kind["version"]]
            reference = {"$ref": f"definitions.json#/definitions/{name}"}
            (folder / f"{'-'.join(parts)}.json").write_text(json.dumps(reference))


def _strict(definition: dict[str, Any]) -> dict[str, Any]:
    """Refuse unknown fields, and accept numbers where text may be meant: OpenAPI's int-or-string says only string."""
    made = copy.deepcopy(definition)
    if made.get("format") == "int-or-string":
        return {"type": ["string", "integer"]}
    if "properties" in made:
        made.setdefault("additionalProperties", False)
    return made
