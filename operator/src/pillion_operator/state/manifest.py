"""Reading Kubernetes objects as they come off the wire: JSON objects, with typed access to what lies inside."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar, cast

from pillion.resources.base import JsonObject
from pillion_operator.state.names import REVISION_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import JsonValue

T = TypeVar("T")
Manifest: TypeAlias = JsonObject
#: What a condition's reason may look like. Source: metav1.Condition, more narrowly.
_WORD: Final = re.compile("[A-Za-z][A-Za-z0-9]{0,99}")
#: Above it, JSON's readers disagree. Source: RFC 8259, section 6.
_MOST_COUNT: Final = 2**53 - 1


class Key(NamedTuple):
    """Names an object of a known kind; `namespace` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """The form used in logs."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def value_at(manifest: Mapping[str, JsonValue], *path: str) -> JsonValue:
    """Return the value at `path`, None where any part of the way is missing."""
    found: JsonValue = cast("JsonValue", manifest)
    for part in path:
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found


def text_at(manifest: Mapping[str, JsonValue], *path: str) -> str:
    """Return the text at `path`, empty where there is none."""
    found = value_at(manifest, *path)
    return found if isinstance(found, str) else ""


def number_at(manifest: Mapping[str, JsonValue], *path: str, default: int = 0) -> int:
    """Return the whole number at `path`, else `default`."""
    found = value_at(manifest, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def finite(value: JsonValue) -> float | None:
    """Return a number as one that a status can hold; None for what is none, is not finite, or is a word of logic."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def count_at(manifest: Mapping[str, JsonValue], *path: str) -> int | None:
    """Return the whole number at `path`; None where it is none, is below zero, or is more than JSON holds exactly."""
    found = value_at(manifest, *path)
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    return found if 0 <= found <= _MOST_COUNT else None


def word_at(manifest: Mapping[str, JsonValue], *path: str) -> str:
    """Return the word at `path` that a condition may have as its reason, empty where there is none."""
    found = text_at(manifest, *path)
    return found if _WORD.fullmatch(found) else ""


def seconds_at(manifest: Mapping[str, JsonValue], *path: str) -> float:
    """Return the time at `path` in seconds since 1970, zero where there is none."""
    try:
        return datetime.strptime(text_at(manifest, *path), "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return 0.0


def object_at(manifest: Mapping[str, JsonValue], *path: str) -> JsonObject:
    """Return the object at `path`, an empty one where there is none."""
    found = value_at(manifest, *path)
    return found if isinstance(found, dict) else {}


def objects_at(manifest: Mapping[str, JsonValue], *path: str) -> list[JsonObject]:
    """Return the objects in the list at `path`."""
    found = value_at(manifest, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def texts_at(manifest: Mapping[str, JsonValue], *path: str) -> dict[str, str]:
    """Return the texts of the object at `path`: labels, annotations, data."""
    return {key: value for key, value in object_at(manifest, *path).items() if isinstance(value, str)}


def key_of(manifest: Mapping[str, JsonValue]) -> Key:
    """Return the object's key."""
    return Key(text_at(manifest, "metadata", "namespace"), text_at(manifest, "metadata", "name"))


def uid_of(manifest: Mapping[str, JsonValue]) -> str:
    """Return the object's uid."""
    return text_at(manifest, "metadata", "uid")


def version_of(manifest: Mapping[str, JsonValue]) -> str:
    """Return the object's resource version."""
    return text_at(manifest, "metadata", "resourceVersion")


def generation_of(manifest: Mapping[str, JsonValue]) -> int:
    """Return the generation of the object's spec."""
    return number_at(manifest, "metadata", "generation")


def labels_of(manifest: Mapping[str, JsonValue]) -> dict[str, str]:
    """Return the object's labels."""
    return texts_at(manifest, "metadata", "labels")


def annotations_of(manifest: Mapping[str, JsonValue]) -> dict[str, str]:
    """Return the object's annotations."""
    return texts_at(manifest, "metadata", "annotations")


def revision(template: Mapping[str, JsonValue]) -> str:
    """Return the version that a pod, or a template of pods, is of."""
    return annotations_of(template).get(REVISION_ANNOTATION, "")


def is_deleting(manifest: Mapping[str, JsonValue]) -> bool:
    """Whether deletion has begun and waits for finalizers."""
    return bool(text_at(manifest, "metadata", "deletionTimestamp"))


def is_reachable(pod: Mapping[str, JsonValue]) -> bool:
    """Return whether something can answer at the pod's address: an evicted pod keeps it, and another may get it."""
    running = text_at(pod, "status", "phase") == "Running"
    return running and bool(text_at(pod, "status", "podIP")) and not is_deleting(pod)


def timestamp_of(seconds: float) -> str:
    """Return a time since the epoch as objects carry it. Source: RFC 3339, to the second as metav1.Time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def controller_uid(manifest: Mapping[str, JsonValue]) -> str:
    """Return the uid of the owner that controls the object, empty where nobody does."""
    for owner in objects_at(manifest, "metadata", "ownerReferences"):
        if owner.get("controller") is True:
            return text_at(owner, "uid")
    return ""


def condition_of(manifest: Mapping[str, JsonValue], kind: str) -> JsonObject:
    """Return the entry of `status.conditions` of that type, an empty object where there is none."""
    found = (item for item in objects_at(manifest, "status", "conditions") if item.get("type") == kind)
    return next(found, {})


def copied(value: T) -> T:
    """Return a copy to change: no two parts of it are one, which parts of objects in the caches may be."""
    if isinstance(value, dict):
        return cast("T", {field: copied(inner) for field, inner in value.items()})
    if isinstance(value, list):
        return cast("T", [copied(inner) for inner in value])
    return value


def array(items: Iterable[JsonObject] | Sequence[str]) -> list[JsonValue]:
    """Return the items as a JSON array; lists are invariant in Python's types, so this is said once, here."""
    return list(items)
