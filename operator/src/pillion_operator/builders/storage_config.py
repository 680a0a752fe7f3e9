"""`model.storage`: a model named by a path in a store that an entry of the Secret `storage-config` describes.

An entry is JSON: `type`, `bucket`, `endpoint_url`, `region`, and credentials. The operator reads type and bucket, which
make the URI; the entry itself goes to the init container by reference, as the variable `STORAGE_CONFIG`.
Source: KServe, "Storage spec".
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.literal import literal
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pillion.resources import ModelStorageSpec
    from pillion.resources.base import JsonObject

__all__ = ["STORAGE_CONFIG_SECRET", "StorageEntry", "credentials_of_entry", "entries_of"]

STORAGE_CONFIG_SECRET: Final = "storage-config"  # noqa: S105 - the name of a Secret, not a secret
#: Types of stores whose entries the storage step understands.
_TYPES: Final = ("s3",)


@dataclass(frozen=True, slots=True)
class StorageEntry:
    """What a builder may know of an entry: its key, type and bucket; `type` is empty where it is not readable."""

    key: str
    type: str
    bucket: str


def entries_of(data: Mapping[str, str]) -> tuple[StorageEntry, ...]:
    """Read the Secret's `data`; credentials are not kept."""
    return tuple(_entry(key, value) for key, value in sorted(data.items()))


def _entry(key: str, value: str) -> StorageEntry:
    try:
        told = json.loads(base64.b64decode(value))
    except (ValueError, binascii.Error):
        told = None
    if not isinstance(told, dict):
        return StorageEntry(key, "", "")
    return StorageEntry(key, str(told.get("type") or ""), str(told.get("bucket") or ""))


def credentials_of_entry(entries: Iterable[StorageEntry], storage: ModelStorageSpec) -> StorageCredentials:
    """Return where the model is and how the init container gets at it, or the problem."""
    known = {entry.key: entry for entry in entries}
    parameters = storage.parameters or {}
    wished = [storage.key] if storage.key else [parameters.get("type", ""), "default"]
    entry = next((known[key] for key in wished if key in known), None)
    if entry is None:
        keys = f"its keys are {', '.join(known)}" if known else "it is missing or empty"
        text = f"the Secret {STORAGE_CONFIG_SECRET!r} has no entry {wished[0] or 'default'!r} ({keys})"
        return StorageCredentials(problem=Problem(Reason.STORAGE_CONFIG_INVALID, text, STORAGE_CONFIG_SECRET))
    kind = parameters.get("type") or entry.type
    bucket = parameters.get("bucket") or entry.bucket
    if kind not in _TYPES or not bucket:
        lacks = f"type {kind!r} is not one of {', '.join(_TYPES)}" if kind not in _TYPES else "it names no bucket"
        text = f"the entry {entry.key!r} of the Secret {STORAGE_CONFIG_SECRET!r} cannot be used: {lacks}"
        return StorageCredentials(problem=Problem(Reason.STORAGE_CONFIG_INVALID, text, STORAGE_CONFIG_SECRET))
    reference: JsonObject = {"secretKeyRef": {"name": STORAGE_CONFIG_SECRET, "key": entry.key}}
    env: list[JsonObject] = [{"name": "STORAGE_CONFIG", "valueFrom": reference}]
    if parameters:
        env.append({"name": "STORAGE_OVERRIDE_CONFIG", "value": literal(json.dumps(parameters, sort_keys=True))})
    path = (storage.path or "").strip("/")
    uri = f"{kind}://{bucket}/{path}" if path else f"{kind}://{bucket}"
    return StorageCredentials(tuple(env), uri=uri, entry=entry.key)
