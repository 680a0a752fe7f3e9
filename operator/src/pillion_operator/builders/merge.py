"""Merging pod parts that come from several authors: the serving runtime, the manifest, the operator.

Lists that Kubernetes tells apart by a key are merged by that key, since server-side apply refuses duplicates; the
last author wins and the loss is noted. Source: the `patchMergeKey` and `listMapKey` markers of core/v1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion.resources.base import JsonObject

__all__ = ["MAP_KEYS", "covers", "keys_of_list", "merge_container", "merge_objects", "without_duplicates"]

#: Field name to the keys that tell its items apart. `ports` of a container and of a Service differ; see below.
MAP_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "resourceClaims": ("name",),
    "claims": ("name",),
    "schedulingGates": ("name",),
    "ownerReferences": ("uid",),
}


def keys_of_list(field: str, items: list[JsonObject]) -> tuple[str, ...] | None:
    """Return the keys that tell the items of a list in that field apart, None where their order does."""
    if field == "ports":
        return ("containerPort", "protocol") if any("containerPort" in item for item in items) else ("port", "protocol")
    return MAP_KEYS.get(field)


def merge_objects(base: JsonObject, over: JsonObject) -> JsonObject:
    """Return `base` with `over` laid on top: objects and keyed lists merge, everything else is replaced."""
    merged = dict(base)
    for field, value in over.items():
        merged[field] = _merge_values(field, merged.get(field), value)
    return merged


def covers(there: JsonValue, ours: JsonValue) -> bool:
    """Return whether all of `ours` is in `there`, which others may have added to: defaults, entries of keyed lists."""
    if isinstance(there, dict) and isinstance(ours, dict):
        return all(field in there and _field_covers(field, there[field], value) for field, value in ours.items())
    if isinstance(there, list) and isinstance(ours, list):
        return len(there) == len(ours) and all(map(covers, there, ours))
    return there == ours


def _field_covers(field: str, there: JsonValue, ours: JsonValue) -> bool:
    if isinstance(there, list) and isinstance(ours, list):
        keys = keys_of_list(field, _objects(there + ours))
        if keys:
            known = {_identity(item, keys): item for item in _objects(there)}
            return all(covers(known.get(_identity(item, keys)), item) for item in _objects(ours))
    return covers(there, ours)


def merge_container(runtime: JsonObject, model: JsonObject) -> JsonObject:
    """Return the serving runtime's container with the manifest's on top; arguments are appended, as in KServe."""
    merged = merge_objects(runtime, {key: value for key, value in model.items() if key != "args"})
    args = [*_texts(runtime.get("args")), *_texts(model.get("args"))]
    return merged | ({"args": cast("JsonValue", args)} if args else {})


def _merge_values(field: str, base: JsonValue, over: JsonValue) -> JsonValue:
    if isinstance(base, dict) and isinstance(over, dict):
        return merge_objects(base, over)
    if isinstance(base, list) and isinstance(over, list):
        keys = keys_of_list(field, _objects(base + over))
        if keys:
            return cast("JsonValue", _merge_keyed(keys, _objects(base), _objects(over)))
    return over


def _merge_keyed(keys: tuple[str, ...], base: list[JsonObject], over: list[JsonObject]) -> list[JsonObject]:
    merged = {_identity(item, keys): item for item in base}
    for item in over:
        identity = _identity(item, keys)
        known = merged.get(identity)
        # A variable's `value` and `valueFrom` exclude each other, so such an item is replaced, not merged.
        replaced = known is None or "value" in item or "valueFrom" in item
        merged[identity] = item if replaced or known is None else merge_objects(known, item)
    return list(merged.values())


def without_duplicates(pod: JsonObject, path: str = "") -> tuple[JsonObject, list[str]]:
    """Return the object with the last of equal entries kept in every keyed list, and the addresses of the dropped."""
    dropped: list[str] = []
    kept: JsonObject = {}
    for field, value in pod.items():
        where = f"{path}.{field}" if path else field
        if isinstance(value, dict):
            kept[field], inner = without_duplicates(value, where)
            dropped += inner
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            items, inner = _unique(field, _objects(value), where)
            kept[field] = cast("JsonValue", items)
            dropped += inner
        else:
            kept[field] = value
    return kept, dropped


def _unique(field: str, items: list[JsonObject], where: str) -> tuple[list[JsonObject], list[str]]:
    keys = keys_of_list(field, items)
    dropped: list[str] = []
    if keys:
        last: dict[tuple[str, ...], JsonObject] = {}
        for item in items:
            identity = _identity(item, keys)
            if identity in last:
                dropped.append(f"{where}[{', '.join(part for part in identity if part)}]")
            last[identity] = item
        items = list(last.values())
    cleaned: list[JsonObject] = []
    for index, item in enumerate(items):
        clean, inner = without_duplicates(item, f"{where}[{item.get('name', index)}]")
        cleaned.append(clean)
        dropped += inner
    return cleaned, dropped


def _identity(item: JsonObject, keys: tuple[str, ...]) -> tuple[str, ...]:
    defaults = {"protocol": "TCP"}
    return tuple(str(item.get(key, defaults.get(key, ""))) for key in keys)


def _objects(items: list[JsonValue]) -> list[JsonObject]:
    return [item for item in items if isinstance(item, dict)]


def _texts(value: JsonValue) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
