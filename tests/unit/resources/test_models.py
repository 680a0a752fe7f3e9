from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from pillion.resources import (
    Condition,
    InferenceService,
    InferenceServiceStatus,
    JsonObject,
    PredictorSpec,
    ReplicasStatus,
    ServingRuntime,
)

if TYPE_CHECKING:
    from pathlib import Path


def service(predictor: JsonObject) -> JsonObject:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris"},
        "spec": {"predictor": predictor},
    }


def test_a_manifest_becomes_an_object_and_the_same_manifest_again() -> None:
    written = service(
        {
            "minReplicas": 2,
            "tls": {"secretName": "iris", "clientCASecretName": "clients"},
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
            "sklearn": {"storageUri": "s3://bucket/iris", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}},
        }
    )

    read = InferenceService.from_manifest(written)

    assert 2 == read.spec.predictor.min_replicas
    assert written == read.to_api()


def test_a_shorthand_is_a_model_of_that_format() -> None:
    shorthand = PredictorSpec.from_manifest({"onnx": {"storageUri": "s3://b/x", "env": [{"name": "A", "value": "1"}]}})
    in_full = PredictorSpec.from_manifest(
        {"model": {"modelFormat": {"name": "onnx"}, "storageUri": "s3://b/x", "env": [{"name": "A", "value": "1"}]}}
    )

    assert in_full.serving_model == shorthand.serving_model


def test_a_predictor_of_containers_has_no_model() -> None:
    assert PredictorSpec.from_manifest({"containers": [{"name": "own"}]}).serving_model is None


def test_a_manifest_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="minReplica"):
        InferenceService.from_manifest(service({"minReplica": 2}))


def test_python_names_are_no_field_names_of_a_manifest() -> None:
    with pytest.raises(ValidationError, match="min_replicas"):
        InferenceService.from_manifest(service({"min_replicas": 2}))


def test_an_object_of_a_newer_release_is_read_by_the_operator_and_its_open_parts_stay_whole() -> None:
    stored = service({"fromTheFuture": 1, "sklearn": {"alsoNew": {}}, "affinity": {"nodeAffinity": {"new": 1}}})

    predictor = InferenceService.from_api(stored).spec.predictor

    assert {"affinity": {"nodeAffinity": {"new": 1}}, "sklearn": {}} == predictor.to_api()


@pytest.mark.parametrize("value", ["2", 2.0, True])
def test_a_number_is_neither_text_nor_fraction_nor_truth(value: object) -> None:
    with pytest.raises(ValidationError, match="minReplicas"):
        InferenceService.from_manifest(service({"minReplicas": value}))  # type: ignore[dict-item] # wrong on purpose


def test_models_are_values() -> None:
    predictor = PredictorSpec(min_replicas=1)

    with pytest.raises(ValidationError, match="frozen"):
        predictor.min_replicas = 2  # type: ignore[misc] # wrong on purpose


def test_a_status_is_written_in_python_names_and_read_in_kubernetes_names() -> None:
    status = InferenceServiceStatus(
        observed_generation=3,
        conditions=[Condition(type="Ready", status="True", last_transition_time="2026-01-02T03:04:05Z")],
        replicas=ReplicasStatus(ready=1, desired=1, summary="1/1"),
    )

    assert {
        "observedGeneration": 3,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}],
        "replicas": {"ready": 1, "desired": 1, "summary": "1/1"},
    } == status.to_api()


def test_a_runtime_knows_the_container_that_serves() -> None:
    runtime = ServingRuntime.from_manifest(
        {
            "apiVersion": "serving.pillion.dev/v1beta1",
            "kind": "ServingRuntime",
            "metadata": {"name": "mlserver"},
            "spec": {"containers": [{"name": "agent"}, {"name": "kserve-container", "image": "mlserver"}]},
        }
    )

    serving = runtime.spec.serving_container
    assert serving is not None
    assert "mlserver" == serving.image


FOREIGN = ("kopf", "aiohttp", "kubernetes", "grpc", "numpy", "fastapi", "uvicorn", "pillion.server")


#: What the models cost beside what they stand on, and the modules.
PROGRAM = """
import json, sys, time
begin = time.process_time()
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator
between = time.process_time()
import pillion.resources
print(json.dumps([(time.process_time() - between) / (between - begin), sorted(sys.modules)]))
"""


def test_importing_the_models_loads_neither_a_cluster_client_nor_a_server() -> None:
    _, modules = json.loads(subprocess.check_output([sys.executable, "-c", PROGRAM]))

    assert [] == [module for module in modules if module.startswith(FOREIGN)]


def test_importing_the_models_costs_little_beside_importing_what_they_stand_on(tmp_path: Path) -> None:
    cached = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    cached["PYTHONPYCACHEPREFIX"] = str(tmp_path)

    # The first run compiles; the least of the others is the one that the machine's other work disturbed least.
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", PROGRAM], env=cached)) for _ in range(6)]

    assert 2 > min(cost for cost, _ in runs[1:])
