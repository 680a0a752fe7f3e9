"""Finding what differs between a manifest of ours and the live object. Pure.

Three questions, since a forced apply answers none of them by itself: does the live object have every value that we
want; do we still own something that we no longer want; has somebody else added something inside what is ours to
decide. The last two read `metadata.managedFields`. Source: Kubernetes, "Server-Side Apply"; the `FieldsV1` format of
structured-merge-diff.
"""

from __future__ import annotations

import functools
import json
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from pillion_operator.builders.merge import keys_of_list
from pillion_operator.state.manifest import Manifest, copied, object_at, objects_at, text_at
from pillion_operator.state.names import FIELD_MANAGER, RESTARTED_AT_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject

__all__ = ["Step", "differences", "foreign_entries", "leftovers", "show", "without"]

#: One step into an object: a field's name, or the key of a list item as the API server writes it (`k:{...}`).
Step: TypeAlias = str
Path: TypeAlias = tuple[Step, ...]

#: What others may have: the number of replicas, and the trace of `kubectl rollout restart`.
_ALLOWED: Final = frozenset(
    {
        ("spec", "replicas"),
        ("spec", "template", "metadata", "annotations", RESTARTED_AT_ANNOTATION),
    }
)
#: The parts of a child that are ours alone; labels and annotations of the object itself are everybody's.
_OURS: Final = ("spec", "data", "binaryData")
#: Selectors of a field are owned as a whole, and the API server gives them defaults all the same.
_DEFAULTED: Final = frozenset({"fieldRef", "resourceFieldRef"})
#: Fields whose content is quantities: `0.5` and `500m` are the same.
_QUANTITIES: Final = frozenset({"requests", "limits", "overhead", "sizeLimit", "divisor", "averageValue"})
_UNITS: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip


def differences(wanted: JsonObject, live: JsonObject) -> list[Path]:
    """Return the addresses at which the live object lacks a value that is wanted."""
    return list(_differences(wanted, live, (), quantities=False))


def _differences(wanted: JsonValue, live: JsonValue, path: Path, *, quantities: bool) -> Iterator[Path]:
    if isinstance(wanted, dict):
        if not isinstance(live, dict):
            if wanted or live is not None:
                yield path
            return
        for field, value in wanted.items():
            inner = quantities or field in _QUANTITIES
            yield from _differences(value, live.get(field), (*path, field), quantities=inner)
    elif isinstance(wanted, list):
        yield from _list_differences(wanted, live, path, quantities=quantities)
    elif not _same(wanted, live, quantities=quantities):
        yield path


def _list_differences(wanted: list[JsonValue], live: JsonValue, path: Path, *, quantities: bool) -> Iterator[Path]:
    if not isinstance(live, list):
        if wanted or live is not None:
            yield path
        return
    ours, theirs = [x for x in wanted if isinstance(x, dict)], [x for x in live if isinstance(x, dict)]
    keys = keys_of_list(path[-1] if path else "", ours)
    if not keys or len(ours) != len(wanted):
        if len(wanted) != len(live):
            yield path
            return
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from _differences(one, other, (*path, str(index)), quantities=quantities)
        return
    by_key = {_item_key(item, keys): item for item in theirs}
    for item in ours:
        step = _item_key(item, keys)
        yield from _differences(item, by_key.get(step), (*path, step), quantities=quantities)


def _same(wanted: JsonValue, live: JsonValue, *, quantities: bool) -> bool:
    if wanted == live:
        return True
    # The API server leaves empty values of most fields out.
    if live is None and wanted in ("", 0, False):
        return True
    return quantities and _quantity(wanted) is not None and _quantity(wanted) == _quantity(live)


def _quantity(value: JsonValue) -> Decimal | None:
    text = str(value)
    digits = text.rstrip("numkKMGTPEi")
    try:
        return Decimal(digits) * _UNITS[text[len(digits) :]]
    except (InvalidOperation, KeyError):
        try:
            return Decimal(text)
        except InvalidOperation:
            return None


def leftovers(wanted: JsonObject, live: Manifest) -> list[Path]:
    """Return what we applied once and no longer want: an apply takes it away."""
    found: list[Path] = []
    for entry in _entries(live):
        if text_at(entry, "manager") == FIELD_MANAGER and text_at(entry, "operation") == "Apply":
            fields = object_at(entry, "fieldsV1")
            found += _unwanted(fields, wanted, ())
            found += _added_to_maps(fields, wanted, live, ())
    return found


def foreign_entries(wanted: JsonObject, live: Manifest) -> list[Path]:
    """Return what others have added where only we decide: only a replacement takes it away."""
    found: dict[Path, None] = {}
    for entry in _entries(live):
        if text_at(entry, "manager") == FIELD_MANAGER and text_at(entry, "operation") == "Apply":
            continue
        # Subresources (status, scale) have owners of their own.
        if text_at(entry, "subresource"):
            continue
        for part in _OURS:
            fields = object_at(entry, "fieldsV1", f"f:{part}")
            for path in _unwanted(fields, object_at(wanted, part), (part,)):
                if path not in _ALLOWED and _present(live, path):
                    found[path] = None
            for path in _added_to_maps(fields, object_at(wanted, part), object_at(live, part), (part,)):
                found[path] = None
    return list(found)


def _entries(live: Manifest) -> list[JsonObject]:
    return objects_at(live, "metadata", "managedFields")


def _unwanted(fields: Mapping[str, JsonValue], wanted: JsonValue, path: Path) -> Iterator[Path]:
    """Yield the owned addresses below `path` that `wanted` does not have."""
    for name, inner in fields.items():
        if name == "." or not isinstance(inner, dict):
            continue
        kind, _, rest = name.partition(":")
        if kind == "f":
            step, here = rest, wanted.get(rest) if isinstance(wanted, dict) else None
            known = isinstance(wanted, dict) and rest in wanted
        elif kind == "k":
            step, here = name, _find(wanted, name)
            known = here is not None
        else:
            # `v:` (set members) and `i:` (indices) occur in atomic lists only through their parent.
            continue
        if known:
            yield from _unwanted(inner, here, (*path, step))
        elif inner.get(".") is not None or not any(key[:2] in {"f:", "k:"} for key in inner):
            yield (*path, step)
        else:
            yield from _unwanted(inner, None, (*path, step))


def _added_to_maps(fields: Mapping[str, JsonValue], wanted: JsonValue, live: JsonValue, path: Path) -> Iterator[Path]:
    """Yield what is not wanted in maps that have one owner as a whole, such as a selector.

    `managedFields` names such a map and none of its entries. Only maps of strings and selectors of labels are looked
    at: defaults add fields to other objects, and those are nobody's.
    """
    for name, inner in fields.items():
        step = name if name.startswith("k:") else name.partition(":")[2]
        if not isinstance(inner, dict) or name == "." or step in _DEFAULTED:
            continue
        ours, theirs = _step_into(wanted, step), _step_into(live, step)
        if inner:
            yield from _added_to_maps(inner, ours, theirs, (*path, step))
        else:
            yield from _added(ours, theirs, (*path, step))


def _added(ours: JsonValue, theirs: JsonValue, path: Path) -> Iterator[Path]:
    """Yield the keys that only the second of two maps of strings, or of two selectors of labels, has."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict) or not ours:
        return
    if "matchLabels" in ours:
        yield from _added(ours["matchLabels"], theirs.get("matchLabels"), (*path, "matchLabels"))
    elif not all(isinstance(value, str) for value in ours.values()):
        return
    for key in theirs:
        if key not in ours:
            yield (*path, key)


def _find(items: JsonValue, step: Step) -> JsonValue:
    """Return the item of a list that a `k:{...}` step names."""
    wanted: dict[str, object] = json.loads(step[2:])
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and all(_key_value(item, key) == value for key, value in wanted.items()):
            return item
    return None


def _key_value(item: JsonObject, key: str) -> JsonValue:
    return item.get(key, "TCP" if key == "protocol" else None)


def _item_key(item: JsonObject, keys: tuple[str, ...]) -> Step:
    return "k:" + json.dumps({key: _key_value(item, key) for key in keys}, separators=(",", ":"), sort_keys=True)


def _step_into(value: JsonValue, step: Step) -> JsonValue:
    if step.startswith("k:"):
        return _find(value, step)
    return value.get(step) if isinstance(value, dict) else None


def _present(live: Manifest, path: Path) -> bool:
    return functools.reduce(_step_into, path, cast("JsonValue", live)) is not None


def without(live: Manifest, paths: list[Path]) -> Manifest:
    """Return a copy of the live object with the values at these addresses taken out."""
    cleaned = copied(live)
    for path in paths:
        parent, last = functools.reduce(_step_into, path[:-1], cast("JsonValue", cleaned)), path[-1]
        if isinstance(parent, dict):
            parent.pop(last, None)
        elif isinstance(parent, list):
            item = _find(parent, last)
            if item is not None:
                parent.remove(item)
    return cleaned


def show(path: Path) -> str:
    """Return an address for people: `spec.template.spec.containers[runtime].env[DEBUG]`."""
    text = ""
    for step in path:
        if step.startswith("k:"):
            text += f"[{'/'.join(str(value) for value in json.loads(step[2:]).values())}]"
        else:
            text += f".{step}"
    return text.lstrip(".")
