"""From an object that changed to the keys that must be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.judge import scaling_active
from pillion_operator.observe.store import owner_of
from pillion_operator.state.kinds import HORIZONTAL_POD_AUTOSCALER, INFERENCE_SERVICE, LABELLED, RUNTIMES
from pillion_operator.state.manifest import condition_of, key_of, object_at, text_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

    from pillion.resources import JsonObject
    from pillion_operator.observe.store import Store
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Key, Manifest

__all__ = ["is_news", "keys_for"]


def keys_for(kind: Kind, manifest: Manifest, store: Store) -> Iterable[Key]:
    """Return the InferenceServices that the object bears on."""
    if kind == INFERENCE_SERVICE:
        return [key_of(manifest)]
    if kind in LABELLED:
        owner = owner_of(manifest)
        return [] if owner is None else [owner]
    if kind in RUNTIMES:
        # Which service would choose another runtime now is for the selection to say; looking costs no request.
        namespace = key_of(manifest).namespace
        return [key for key in store.keys(INFERENCE_SERVICE) if not namespace or key.namespace == namespace]
    return []


def is_news(kind: Kind, before: Manifest | None, after: Manifest) -> bool:
    """Whether a change is worth a look.

    An autoscaler writes the load that it saw into its status every fifteen seconds; what counts of it are its spec and
    what it says of itself.
    """
    if kind != HORIZONTAL_POD_AUTOSCALER or before is None:
        return True
    return _told(before) != _told(after)


def _told(autoscaler: Manifest) -> list[JsonValue]:
    metadata = {
        field: value
        for field, value in object_at(autoscaler, "metadata").items()
        if field not in {"resourceVersion", "managedFields"}
    }
    conditions = [_said(condition_of(autoscaler, kind)) for kind in ("AbleToScale", "ScalingActive")]
    return [metadata, object_at(autoscaler, "spec"), *conditions]


def _said(condition: JsonObject) -> JsonObject:
    return condition | {"message": scaling_active.without_pod(text_at(condition, "message"))}
