"""The statuses that KServe mode writes: within KServe's own schema, and rightly read by Argo CD's own rule."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from e2e.harness import kserve
from pillion_operator.judge.kserve import mirrored_status, refused_status
from tests.integration.gitops.tools import argo_of_kserve

Object = dict[str, Any]
NOW = "2026-01-02T00:00:00Z"
THEIRS: Object = {"kind": "InferenceService", "metadata": {"name": "iris", "namespace": "shop", "generation": 1}}
URL = "http://iris-predictor.shop.svc.cluster.local"


def child(*conditions: tuple[str, str, str], failure: str = "") -> Object:
    """An InferenceService of ours with every field of its status that has a counterpart, and some that have none."""
    told = [{"type": kind, "status": value, "reason": reason, "message": "x"} for kind, value, reason in conditions]
    model: Object = {
        "transitionStatus": "UpToDate",
        "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
        "copies": {"failedCopies": 0, "totalCopies": 1},
        "libraries": {"saved": {"scikit-learn": "1.7"}},
    }
    if failure:
        model["lastFailureInfo"] = {"reason": failure, "message": "m", "location": "p", "exitCode": 1, "time": NOW}
    component = {"url": URL, "restUrl": URL, "grpcUrl": URL, "address": {"url": URL}, "latestReadyRevision": "a"}
    status = {
        "observedGeneration": 1, "conditions": told, "url": URL, "address": {"url": URL}, "modelStatus": model,
        "components": {"predictor": component}, "clusterServingRuntimeName": "pillion-sklearn",
        "runtime": {"kind": "ClusterServingRuntime", "name": "pillion-sklearn"}, "deploymentMode": "Standard",
        "replicas": {"ready": 1, "desired": 1, "summary": "1/1"}, "canary": {"requested": 10, "actual": 10},
    }  # fmt: skip  # a field beside the next
    return {"metadata": {"name": "iris", "namespace": "shop", "generation": 1}, "status": status}


def starting() -> Object:
    return {"metadata": {"name": "iris", "namespace": "shop", "generation": 1}}


PARTS = (("PredictorReady", "True", "Ready"), ("RoutesReady", "True", "ServiceApplied"))
SETTLED = (("Reconciling", "False", "Settled"), ("Stalled", "False", "Settled"), ("Stopped", "False", "Running"))
IGNORED = ("FieldsHonoured", "False", "FieldsNotHonoured")
#: Argo CD's word, and the conditions of the InferenceService of ours.
STATES = {
    "new": ("Progressing", starting()),
    "starting": (
        "Progressing",
        child(("Ready", "False", "Starting"), ("PredictorReady", "False", "Starting"), ("Reconciling", "True", "x")),
    ),
    "ready": ("Healthy", child(("Ready", "True", "Loaded"), *PARTS, *SETTLED)),
    "ready with fields without effect": ("Healthy", child(("Ready", "True", "Loaded"), *PARTS, *SETTLED, IGNORED)),
    "rolling out": ("Progressing", child(("Ready", "True", "Loaded"), *PARTS, ("Reconciling", "True", "Progressing"))),
    "at zero": ("Healthy", child(("Ready", "True", "ScaledToZero"), *PARTS, *SETTLED)),
    "no runtime yet": (
        "Progressing",
        child(("Ready", "False", "NoServingRuntime"), ("Reconciling", "True", "x"), failure="NoServingRuntime"),
    ),
    "killed": (
        "Degraded",
        child(("Ready", "False", "OOMKilled"), ("Reconciling", "True", "x"), failure="OOMKilled"),
    ),
    "a pickle": (
        "Degraded",
        child(("Ready", "False", "UnsafeFormat"), ("Stalled", "True", "UnsafeFormat"), failure="UnsafeFormat"),
    ),
    "refused": ("Degraded", child(("Ready", "False", "Refused"), ("Stalled", "True", "Refused"), failure="Refused")),
    "stopped": ("Suspended", child(("Ready", "False", "Stopped"), *PARTS[1:], ("Stopped", "True", "Stopped"))),
}


@pytest.fixture(scope="module")
def schema() -> Object:
    (file,) = (path for path in kserve.definitions() if path.name.endswith("_inferenceservices.yaml"))
    definition = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    (version,) = (one for one in definition["spec"]["versions"] if one["name"] == "v1beta1")
    found: Object = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    return found


def outside(schema: Object, value: Any, path: str = "status") -> list[str]:
    """What the schema has no field for, or another type, or not among its words."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if not isinstance(value, kinds[schema["type"]]) or value not in schema.get("enum", [value]):
        return [f"{path}: {value!r}"]
    if isinstance(value, list):
        return [wrong for one in value for wrong in outside(schema["items"], one, f"{path}[]")]
    if not isinstance(value, dict):
        return []
    fields, others = schema.get("properties", {}), schema.get("additionalProperties")
    known = {key: fields.get(key, others) for key in value}
    wrong = [f"{path}.{key}" for key, found in known.items() if not isinstance(found, dict)]
    wrong += [f"{path}.{key} is missing" for key in schema.get("required", []) if key not in value]
    inner = ((key, found) for key, found in known.items() if isinstance(found, dict))
    return wrong + [said for key, found in inner for said in outside(found, value[key], f"{path}.{key}")]


@pytest.mark.parametrize(("health", "ours"), STATES.values(), ids=STATES)
def test_a_status_fits_kserves_schema_and_argo_cd_reads_it_rightly(health: str, ours: Object, schema: Object) -> None:
    status = mirrored_status(THEIRS, ours, (), NOW)

    assert [] == outside(schema, status)
    assert health == argo_of_kserve({**THEIRS, "status": status})[0].status


@pytest.mark.parametrize(("lasting", "health"), [(True, "Degraded"), (False, "Progressing")])
def test_a_refusal_is_degraded_unless_it_may_pass(*, lasting: bool, health: str, schema: Object) -> None:
    status = refused_status(THEIRS, "Forbidden", "It may not.", NOW, lasting=lasting)

    assert [] == outside(schema, status)
    assert health == argo_of_kserve({**THEIRS, "status": status})[0].status


def test_what_nobody_has_looked_at_is_in_progress() -> None:
    assert "Progressing" == argo_of_kserve(THEIRS)[0].status
