"""How many replicas the Deployment should have now. Pure.

The count is never applied with the Deployment: a field that its last owner stops applying falls back to its default,
which would cut a service that an autoscaler had grown. It goes through the scale subresource by a manager of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.manifest import Manifest, number_at, object_at, objects_at, text_at
from pillion_operator.state.names import SCALE_MANAGER

if TYPE_CHECKING:
    from pillion_operator.state.plan import ReplicaBounds

__all__ = ["replicas_to_set"]


def replicas_to_set(bounds: ReplicaBounds, live: Manifest) -> int | None:
    """Return the count to set, None where the live one may stay.

    Within the bounds, whoever used the scale subresource last (an autoscaler, `kubectl scale`) has the say; a count
    that we set ourselves, or that somebody edited into the Deployment past that subresource, follows the manifest.
    """
    count = number_at(live, "spec", "replicas", default=1)
    if count < bounds.least:
        return bounds.least
    if bounds.most is not None and count > bounds.most:
        return bounds.most
    return bounds.least if count != bounds.least and _is_ours_to_say(live) else None


def _is_ours_to_say(live: Manifest) -> bool:
    """Whether the count is ours, or was edited past the scale subresource.

    Use of the scale subresource leaves no entry while nobody owns the count, so a count without an owner is a scaler's.
    """
    for entry in objects_at(live, "metadata", "managedFields"):
        if "f:replicas" in object_at(entry, "fieldsV1", "f:spec"):
            return text_at(entry, "subresource") != "scale" or text_at(entry, "manager") == SCALE_MANAGER
    return False
