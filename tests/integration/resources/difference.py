"""The difference that Argo CD sees for a custom resource: a three-way JSON merge of git, last apply and live object."""

from __future__ import annotations

import json

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def three_way_difference(written: dict[str, object], live: dict[str, object]) -> dict[str, object]:
    """Return the merge patch that would bring `live` to `written`; empty where they are in sync.

    Fields that only the live object has are others' to set, unless the last apply had set them. Lists are compared as
    a whole, as a JSON merge patch replaces them: a default inside a list item would show here.
    """
    metadata = live["metadata"]
    annotations = metadata.get("annotations", {}) if isinstance(metadata, dict) else {}
    last = json.loads(annotations.get(LAST_APPLIED, "{}"))
    removed = _removed(last, written)
    # kubectl itself adds the namespace and an empty annotations object to what it remembers.
    for key in ("namespace", "annotations"):
        _drop(removed, "metadata", key)
    return _changed(written, live) | removed


def _changed(written: dict[str, object], live: dict[str, object]) -> dict[str, object]:
    patch: dict[str, object] = {}
    for key, value in written.items():
        there = live.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            inner = _changed(value, there)
            if inner:
                patch[key] = inner
        elif key not in live or value != there:
            patch[key] = value
    return patch


def _removed(last: dict[str, object], written: dict[str, object]) -> dict[str, object]:
    patch: dict[str, object] = {}
    for key, value in last.items():
        if key not in written:
            patch[key] = None
        elif isinstance(value, dict) and isinstance(written[key], dict):
            inner = _removed(value, dict(written[key]))  # type: ignore[call-overload] # narrowed by the line above
            if inner:
                patch[key] = inner
    return patch


def _drop(patch: dict[str, object], outer: str, key: str) -> None:
    inner = patch.get(outer)
    if isinstance(inner, dict):
        inner.pop(key, None)
        if not inner:
            del patch[outer]
