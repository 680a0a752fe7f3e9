"""The reference by which a child goes when its owner does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion.resources import BatchPrediction, InferenceService, JsonObject, TrainingJob

__all__ = ["owner_reference"]


def owner_reference(owner: InferenceService | TrainingJob | BatchPrediction, uid: str) -> JsonObject:
    """Return the reference to the one object that a child belongs to."""
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.metadata.name or "",
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
