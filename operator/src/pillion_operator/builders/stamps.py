"""The marks by which a kept template that was changed is another one than it was."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pillion_operator.builders.deployment import revision_of
from pillion_operator.state.manifest import object_at
from pillion_operator.state.names import CONFIG_HASH_ANNOTATION, REVISION_ANNOTATION

if TYPE_CHECKING:
    from pillion.resources import JsonObject

__all__ = ["stamped"]


def stamped(template: JsonObject, config: str) -> JsonObject:
    """Return the template with the digests of itself and of the `runtime.yaml` that its pods read."""
    metadata = object_at(template, "metadata")
    annotations = dict(object_at(metadata, "annotations"))
    annotations.pop(REVISION_ANNOTATION, None)
    annotations[CONFIG_HASH_ANNOTATION] = hashlib.sha256(config.encode()).hexdigest()[:16]
    made: JsonObject = template | {"metadata": metadata | {"annotations": annotations}}
    annotations[REVISION_ANNOTATION] = revision_of(made)
    return made
