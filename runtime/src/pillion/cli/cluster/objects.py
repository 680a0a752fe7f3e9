"""Reading Kubernetes objects as kubectl prints them: JSON, with typed access to what lies inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

__all__ = [
    "Object",
    "condition",
    "generation",
    "name_of",
    "number_at",
    "object_at",
    "objects_at",
    "owner_uid",
    "text_at",
    "value_at",
]

Object: TypeAlias = "Mapping[str, JsonValue]"


def value_at(given: Object, *path: str) -> JsonValue:
    """The value at a path, None where any part of the way is missing."""
    found: JsonValue = dict(given)
    for part in path:
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found


def text_at(given: Object, *path: str) -> str:
    """The text at a path, empty where there is none."""
    found = value_at(given, *path)
    return found if isinstance(found, str) else ""


def number_at(given: Object, *path: str, default: int = 0) -> int:
    """The whole number at a path."""
    found = value_at(given, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def object_at(given: Object, *path: str) -> Object:
    """The object at a path, an empty one where there is none."""
    found = value_at(given, *path)
    return found if isinstance(found, dict) else {}


def objects_at(given: Object, *path: str) -> list[Object]:
    """The objects in the list at a path."""
    found = value_at(given, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def name_of(given: Object) -> str:
    """The object's name."""
    return text_at(given, "metadata", "name")


def generation(given: Object) -> int:
    """The generation of the object's spec."""
    return number_at(given, "metadata", "generation")


def condition(given: Object, kind: str) -> Object:
    """The condition of that type, an empty object where there is none."""
    return next((item for item in objects_at(given, "status", "conditions") if item.get("type") == kind), {})


def owner_uid(given: Object) -> str:
    """The uid of the owner that controls the object, empty where nobody does."""
    owners = objects_at(given, "metadata", "ownerReferences")
    return next((text_at(owner, "uid") for owner in owners if owner.get("controller") is True), "")
