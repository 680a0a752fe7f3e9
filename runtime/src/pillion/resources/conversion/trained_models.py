"""KServe's TrainedModel, `serving.kserve.io/v1alpha1`, as a Model: both add a model to pods that run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.resources.base import API_VERSION
from pillion.resources.conversion.companions import KSERVE_GROUP
from pillion.resources.conversion.remarks import Remark, Subject

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject

__all__ = ["TRAINED_MODEL_KIND", "TRAINED_MODEL_VERSION", "added_model"]

TRAINED_MODEL_KIND: Final = "TrainedModel"
TRAINED_MODEL_VERSION: Final = f"{KSERVE_GROUP}/v1alpha1"


def added_model(content: JsonObject) -> tuple[JsonObject, list[Remark]]:
    """Return the Model that does the same, and what there is to say of it; the fields are the source's."""
    metadata, spec = _object(content.get("metadata")), _object(content.get("spec"))
    model = _object(spec.get("model"))
    kept = {key: value for key, value in metadata.items() if key in {"name", "namespace", "labels", "annotations"}}
    service = spec.get("inferenceService")
    converted: JsonObject = {
        "apiVersion": API_VERSION,
        "kind": "Model",
        "metadata": kept,
        "spec": {"inferenceServiceRef": {"name": service}, "storageUri": model.get("storageUri")},
    }
    if model.get("framework"):
        _object(converted["spec"])["modelFormat"] = {"name": model["framework"]}
    remarks = [
        Remark(
            Subject.HINT,
            f"it becomes a Model, which the pods of the InferenceService {service!r} serve beside a model of its own",
            f"where that has none, write its models into spec.predictor.models of {service!r} instead",
            "spec.inferenceService",
        )
    ]
    if "memory" in model:
        text, remedy = "nothing is reserved for one model", "count it into resources of the InferenceService"
        remarks.append(Remark(Subject.REMOVED, text, remedy, "spec.model.memory"))
    remarks += [_removed(f"spec.{key}") for key in spec if key not in {"inferenceService", "model"}]
    remarks += [_removed(f"spec.model.{key}") for key in model if key not in {"storageUri", "framework", "memory"}]
    return converted, remarks


def _removed(address: str) -> Remark:
    return Remark(Subject.REMOVED, "there is no such field here", field=address)


def _object(value: Any) -> JsonObject:  # noqa: ANN401 - anything that a file holds
    return value if isinstance(value, dict) else {}
