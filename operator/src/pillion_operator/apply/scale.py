"""How many replicas the Deployment should have now, and whose word that is. Pure.

The count is never applied with the Deployment: a field that its last owner stops applying falls back to its default,
which would cut a service that an autoscaler had grown. It goes through the scale subresource by a manager of its own.

While an autoscaler of ours decides, nobody else may own the count, or it would look like ours again when autoscaling is
switched off, and fall back to the least. So what is set then is set as a scaler does it, and a count that we own from
before is given up: its entry in `managedFields` goes, its value stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.manifest import Manifest, copied, number_at, object_at, objects_at, text_at
from pillion_operator.state.names import SCALE_MANAGER

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject
    from pillion_operator.state.plan import ReplicaBounds

__all__ = ["given_up", "replicas_to_set"]


def replicas_to_set(bounds: ReplicaBounds, live: Manifest) -> int | None:
    """Return the count to set, None where the live one may stay.

    Within the bounds, whoever used the scale subresource last (an autoscaler, `kubectl scale`) has the say; a count
    that we set ourselves, or that somebody edited into the Deployment past that subresource, follows the manifest,
    unless an autoscaler of ours takes it up from there.
    """
    count = number_at(live, "spec", "replicas", default=1)
    if count == 0 and bounds.to_zero_after is not None:
        return None
    if count < bounds.least:
        return bounds.least
    if bounds.most is not None and count > bounds.most:
        return bounds.most
    if bounds.left_to_scalers or count == bounds.least:
        return None
    return bounds.least if any(map(_is_ours_to_say, objects_at(live, "metadata", "managedFields"))) else None


def given_up(live: Manifest) -> Manifest | None:
    """Return the Deployment with the count left to scalers, for a replacement; None where it is theirs already."""
    entries = objects_at(live, "metadata", "managedFields")
    if not any(map(_is_ours_to_say, entries)):
        return None
    given = copied(live)
    kept = [_without_count(entry) if _is_ours_to_say(entry) else entry for entry in entries]
    object_at(given, "metadata")["managedFields"] = [entry for entry in kept if entry is not None]
    return given


def _is_ours_to_say(entry: JsonObject) -> bool:
    """Whether this owner of the count is us, or edited it past the scale subresource.

    Use of the scale subresource leaves no entry while nobody owns the count, so a count without an owner is a scaler's.
    """
    if "f:replicas" not in object_at(entry, "fieldsV1", "f:spec"):
        return False
    return text_at(entry, "subresource") != "scale" or text_at(entry, "manager") == SCALE_MANAGER


def _without_count(entry: JsonObject) -> JsonObject | None:
    """Return the entry without the count, None where it was about nothing else."""
    entry = copied(entry)
    fields = object_at(entry, "fieldsV1")
    spec = object_at(fields, "f:spec")
    spec.pop("f:replicas")
    if not spec:
        fields.pop("f:spec")
    return entry if fields else None
