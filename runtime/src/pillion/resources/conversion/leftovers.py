"""What a cluster adds to an object, and what nobody wants to apply again: `kubectl get -o yaml` prints it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources.conventions import HONOURED_ANNOTATIONS, KSERVE_PREFIX, PREFIX
from pillion.resources.conversion.edits import Remove, Rename
from pillion.resources.conversion.remarks import Remark, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.resources.base import JsonObject
    from pillion.resources.conversion.edits import Edit
    from pillion.resources.rules import FieldPath

__all__ = ["leftover_paths", "renamed_annotations"]

#: Finalizers are of the controller that set them: nobody here would ever take KServe's off again.
_METADATA = (
    "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "finalizers",
    "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences",
)  # fmt: skip
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def leftover_paths(content: JsonObject) -> Iterator[FieldPath]:
    """Yield what the API server or a controller wrote into the object."""
    if "status" in content:
        yield ("status",)
    metadata = content.get("metadata")
    if not isinstance(metadata, dict):
        return
    yield from (("metadata", key) for key in _METADATA if key in metadata)
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict) and _LAST_APPLIED in annotations:
        yield ("metadata", "annotations", _LAST_APPLIED)


def renamed_annotations(content: JsonObject) -> tuple[list[Edit], list[Remark]]:
    """Return KServe's annotations that mean the same here under our prefix; the others stay as they are."""
    edits: list[Edit] = []
    remarks: list[Remark] = []
    metadata = content.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if not isinstance(annotations, dict):
        return edits, remarks
    for key in annotations:
        name = key.removeprefix(KSERVE_PREFIX)
        if name == key or name not in HONOURED_ANNOTATIONS:
            continue
        path = ("metadata", "annotations", key)
        if PREFIX + name in annotations:
            edits.append(Remove(path))
            text = f"{PREFIX}{name} stands beside it and counts"
            remarks.append(Remark(Subject.REMOVED, text, field=f"metadata.annotations[{key}]"))
        else:
            edits.append(Rename(path, PREFIX + name))
    return edits, remarks
