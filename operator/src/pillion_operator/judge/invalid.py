"""The status of an object that was stored under other rules, and that this release cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.manifest import generation_of, object_at, objects_at
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pydantic import ValidationError

    from pillion.resources import JsonObject
    from pillion_operator.state.manifest import Manifest

__all__ = ["invalid_status"]


def invalid_status(stored: Manifest, error: ValidationError, timestamp: str) -> JsonObject | None:
    """Return the status that names the first field that is wrong; None where it says so already."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    text = sentence(f"{field}: {first['msg']}", Reason.INVALID_SPEC)
    status: JsonObject = dict(object_at(stored, "status"))
    judged = {"Ready", "Stalled", "Reconciling"}
    before = {c.get("type"): c for c in objects_at(stored, "status", "conditions")}
    if before.get("Ready", {}).get("message") == text:
        return None
    kept = [c for c in objects_at(stored, "status", "conditions") if c.get("type") not in judged]
    condition: JsonObject = {
        "reason": Reason.INVALID_SPEC.value,
        "message": text,
        "lastTransitionTime": timestamp,
        "observedGeneration": generation_of(stored),
    }
    ready: JsonObject = {"type": "Ready", "status": "False", **condition}
    stalled: JsonObject = {"type": "Stalled", "status": "True", **condition}
    reconciling: JsonObject = {"type": "Reconciling", "status": "False", **condition}
    return status | {"observedGeneration": generation_of(stored), "conditions": [ready, stalled, reconciling, *kept]}
