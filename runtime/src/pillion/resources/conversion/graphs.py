"""KServe's InferenceGraph, `serving.kserve.io/v1alpha1`, as the graph of a service without a model."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from pillion.resources.base import API_VERSION
from pillion.resources.conversion.companions import KSERVE_GROUP
from pillion.resources.conversion.remarks import Remark, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject

__all__ = ["GRAPH_KIND", "GRAPH_VERSION", "graph_service"]

GRAPH_KIND: Final = "InferenceGraph"
GRAPH_VERSION: Final = f"{KSERVE_GROUP}/v1alpha1"

#: Fields of the graph that are the predictor's, under the same name.
_PREDICTOR: Final = (
    "minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "timeout", "affinity", "tolerations", "nodeSelector",
    "nodeName", "serviceAccountName",
)  # fmt: skip
_TYPES: Final = frozenset({"Sequence", "Switch", "Ensemble", "Splitter"})
_STEP: Final = frozenset({"name", "serviceName", "serviceUrl", "nodeName", "data", "weight", "condition", "dependency"})
_COMPARED: Final = re.compile(r"\[@this\]\.#\(\s*([^\s=!<>()]+?)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*\)")
_THERE: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def graph_service(content: JsonObject) -> tuple[JsonObject, list[Remark]]:
    """Return the InferenceService that runs the graph, and what there is to say of it; the fields are the source's."""
    remarks: list[Remark] = []
    spec = _object(content.get("spec"))
    metadata = _object(content.get("metadata"))
    kept = {key: value for key, value in metadata.items() if key in {"name", "namespace", "labels", "annotations"}}
    container: JsonObject = {"name": "runtime"}
    if "resources" in spec:
        container["resources"] = spec["resources"]
    predictor: JsonObject = {key: spec[key] for key in _PREDICTOR if key in spec}
    predictor["containers"] = [container]
    remarks += [_removed(f"spec.{key}") for key in spec if key not in {*_PREDICTOR, "nodes", "resources"}]
    nodes: JsonObject = {
        name: _node(_object(node), f"spec.nodes.{name}", remarks) for name, node in _object(spec.get("nodes")).items()
    }
    remarks.append(
        Remark(
            Subject.HINT,
            "it becomes an InferenceService whose pods run the graph",
            f'clients call POST /{kept.get("name")} with {{"inputs": BODY}}, and no longer / with the body itself',
            "metadata.name",
        )
    )
    converted: JsonObject = {
        "apiVersion": API_VERSION,
        "kind": "InferenceService",
        "metadata": kept,
        "spec": {"predictor": predictor, "graph": {"nodes": nodes}},
    }
    return converted, remarks


def _node(node: Mapping[str, JsonValue], address: str, remarks: list[Remark]) -> JsonObject:
    kind = str(node.get("routerType"))
    if kind not in _TYPES:
        text = f"is {kind!r}, and there are {', '.join(sorted(_TYPES))}"
        remarks.append(Remark(Subject.REFUSED, text, "", f"{address}.routerType"))
    given = node.get("steps")
    steps: list[JsonValue] = []
    names: set[str] = set()
    for index, step in enumerate(given if isinstance(given, list) else []):
        steps.append(_step(_object(step), kind, index, names, f"{address}.steps[{index}]", remarks))
    return {"type": kind.lower(), "steps": steps}


def _step(
    step: Mapping[str, JsonValue], kind: str, index: int, names: set[str], address: str, remarks: list[Remark]
) -> JsonObject:
    made: JsonObject = {"name": _named(step, kind, index, names)}
    if "nodeName" in step:
        made["node"] = step["nodeName"]
    elif "serviceUrl" in step:
        made["url"] = step["serviceUrl"]
    elif "serviceName" in step:
        service = step["serviceName"]
        made["url"] = f"http://{service}-predictor/v1/models/{service}:predict"
        said = "is called by V1's predict, as KServe called it"
        remedy = f"to call a task of it write service: {service} and task: NAME"
        remarks.append(Remark(Subject.CHANGED, said, remedy, f"{address}.serviceName"))
    if "weight" in step and kind == "Splitter":
        made["weight"] = step["weight"]
    if "condition" in step:
        when = _when(str(step["condition"]))
        if when is None:
            text = "this condition cannot be said here"
            remarks.append(Remark(Subject.REFUSED, text, "write [@this].#(PATH==VALUE)", f"{address}.condition"))
        else:
            made["when"] = when
    _data(step, kind, index, made, address, remarks)
    if step.get("dependency") == "Soft" or (kind == "Sequence" and "dependency" not in step):
        text = "a step that fails ends the graph here, with its error"
        field = f"{address}.dependency" if "dependency" in step else address
        remarks.append(Remark(Subject.CHANGED, text, "what may fail belongs into an ensemble with a quorum", field))
    remarks += [_removed(f"{address}.{key}") for key in step if key not in _STEP]
    return made


def _data(
    step: Mapping[str, JsonValue], kind: str, index: int, made: JsonObject, address: str, remarks: list[Remark]
) -> None:
    data = step.get("data", "$request")
    if kind == "Sequence" and index > 0 and data == "$request":
        made["data"] = "request"
    elif isinstance(data, str) and data not in {"$request", "$response"}:
        text = "a step is given all of what came before it"
        remarks.append(Remark(Subject.CHANGED, text, "have the step before give only that", f"{address}.data"))


def _named(step: Mapping[str, JsonValue], kind: str, index: int, names: set[str]) -> str:
    """Its name; KServe calls the answers of members without one by their numbers."""
    wanted = step.get("name")
    if not wanted:
        wanted = str(index) if kind == "Ensemble" else step.get("serviceName") or step.get("nodeName") or str(index)
    name, number = str(wanted), 2
    while name in names:
        name, number = f"{wanted}-{number}", number + 1
    names.add(name)
    return name


def _removed(address: str) -> Remark:
    return Remark(Subject.REMOVED, "there is no such field here", field=address)


def _when(text: str) -> str | None:
    """The condition in our words; None where there are none."""
    compared = _COMPARED.fullmatch(text.strip())
    if compared is None:
        return f"{text.strip()} != null" if _THERE.fullmatch(text.strip()) else None
    path, comparison, value = compared.groups()
    try:
        json.loads(value)
    except ValueError:
        value = json.dumps(value)
    return f"{path} {comparison} {value}"


def _object(value: Any) -> JsonObject:  # noqa: ANN401 - anything that a file holds
    return value if isinstance(value, dict) else {}
