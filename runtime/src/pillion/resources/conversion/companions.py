"""Objects that stand beside KServe's in a file: those that stay as they are, and those that cannot be converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.resources.base import GROUP
from pillion.resources.conventions import HONOURED_SECRET_ANNOTATIONS, KSERVE_PREFIX
from pillion.resources.conversion.remarks import Remark, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.resources.base import JsonObject

__all__ = ["KSERVE_GROUP", "companion_remarks"]

KSERVE_GROUP: Final = "serving.kserve.io"

_REFUSED: Final = {
    "LLMInferenceService": (
        "there is no such kind here",
        "serve the model with an InferenceService whose container is your LLM server",
    ),
    "LLMInferenceServiceConfig": ("there is no such kind here", "leave it out"),
    "ClusterStorageContainer": (
        "files are always fetched by Pillion's own storage step",
        "leave it out, and give the credentials to the ServiceAccount",
    ),
    "LocalModelCache": ("models are not cached on nodes in this release", "leave it out"),
    "LocalModelNode": ("models are not cached on nodes in this release", "leave it out"),
    "LocalModelNodeGroup": ("models are not cached on nodes in this release", "leave it out"),
    "Predictor": ("it is ModelMesh's", "write an InferenceService for the model"),
}


def companion_remarks(content: JsonObject) -> Iterator[Remark]:
    """Yield why an object that is no InferenceService and no runtime of KServe stays as it is, or cannot be used."""
    version, kind = str(content.get("apiVersion") or ""), str(content.get("kind") or "")
    name = _name(content)
    shown = f"{kind} {name!r}" if name else kind or "a document without a kind"
    group = version.rpartition("/")[0]
    if group == KSERVE_GROUP:
        text, remedy = _REFUSED.get(kind, (f"KServe's {version} has no kind that is converted by this name", ""))
        known = "InferenceService of v1beta1; ServingRuntime, InferenceGraph and TrainedModel of v1alpha1 are converted"
        yield Remark(Subject.REFUSED, f"{shown}: {text}", remedy or known)
    elif group == "serving.kubeflow.org":
        text = f"{shown} is of KFServing, before it was called KServe"
        remedy = f"write apiVersion: {KSERVE_GROUP}/v1beta1, check the fields against KServe's, and convert that"
        yield Remark(Subject.REFUSED, text, remedy)
    elif not version or not kind:
        yield Remark(Subject.REFUSED, f"{shown} cannot be told what it is", "give it apiVersion and kind")
    elif group == GROUP:
        yield Remark(Subject.KEPT, f"{shown} is Pillion's already")
    else:
        yield Remark(Subject.KEPT, f"{shown} is passed through as it is")
        yield from _secret_remarks(content) if kind == "Secret" else ()


def _secret_remarks(content: JsonObject) -> Iterator[Remark]:
    metadata = content.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    for key in annotations if isinstance(annotations, dict) else ():
        name = key.removeprefix(KSERVE_PREFIX)
        if name != key and name not in HONOURED_SECRET_ANNOTATIONS:
            remedy = "put the bundle into a ConfigMap and name it in s3-cabundle-configmap" if "bundle" in name else ""
            text = "the storage step does not read it"
            yield Remark(Subject.NO_EFFECT, text, remedy or "remove the line", f"metadata.annotations[{key}]")


def _name(content: JsonObject) -> str:
    metadata = content.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
