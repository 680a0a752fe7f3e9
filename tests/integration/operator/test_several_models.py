"""Several models in one InferenceService. The tests play the kubelet's part; the runtimes in the pods are real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.harness import Api, Object, OperatorProcess, condition, eventually, inference_service
from tests.integration.operator.kubelet import address
from tests.integration.operator.kubelet import pods as pods_of
from tests.integration.operator.node import Node, declared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDRESSES = (address(105), address(106))


def named(name: str, uri: str, **fields: Any) -> Object:
    return {"name": name, "modelFormat": {"name": "onnx"}, "storageUri": uri} | fields


def service(api: Api, namespace: str) -> Object:
    return api.get("InferenceService", namespace, "iris") or {}


def loaded(api: Api, namespace: str, status: str, reason: str, begins: str) -> Object:
    """The service, once its condition ModelLoaded has that status and reason, and the message begins so."""

    def look() -> Object | None:
        found = service(api, namespace)
        said = condition(found, "ModelLoaded")
        same = (said.get("status"), said.get("reason")) == (status, reason)
        return found if same and said["message"].startswith(begins) else None

    found = eventually(look)
    assert found is not None
    return found


def template(api: Api, namespace: str) -> Object:
    found: Object = (api.get("Deployment", namespace, "iris-predictor") or {})["spec"]["template"]
    return found


@pytest.fixture
def nodes(api: Api, namespace: str, operator: OperatorProcess, tmp_path: Path, web: str) -> Iterator[list[Node]]:
    """Two pods of a service with a model that is served, and one whose file is none."""
    del operator
    models = [named("good", f"{web}/m.onnx"), named("bad", f"{web}/broken.onnx")]
    api.create(namespace, inference_service(models=models, minReplicas=2))
    eventually(lambda: len(declared(api, namespace)) == 2)
    eventually(lambda: len(pods_of(api, namespace)) == 2)
    running: list[Node] = []
    try:
        for number, ip in enumerate(ADDRESSES):
            running.append(Node(api, namespace, tmp_path / str(number), ip, number=number))
        yield running
    finally:
        for node in running:
            node.end()


def test_models_of_one_manifest_are_served_come_and_go_and_fail_each_by_itself(
    api: Api, namespace: str, nodes: list[Node], web: str
) -> None:
    before, pods = template(api, namespace), [node.pod for node in nodes]

    found = loaded(api, namespace, "False", "ModelLoadFailed", "1 of 2 models are served by every pod, and not 'bad': ")

    assert "The model 'bad' is not served in pod" in condition(found, "Ready")["message"]
    good, bad = found["status"]["models"]
    assert ("good", "Ready", "2/2") == (good["name"], good["state"], good["replicas"]["summary"])
    assert [(pod, "Ready") for pod in sorted(pods)] == [(one["name"], one["state"]) for one in good["pods"]]
    assert ("bad", "Failed", "0/2") == (bad["name"], bad["state"], bad["replicas"]["summary"])
    assert [200, 200] == [node.predict("good") for node in nodes]

    models = [named("good", f"{web}/m.onnx"), named("bad", f"{web}/m.onnx"), named("third", f"{web}/m.onnx")]
    said = [node.annotation() for node in nodes]
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"models": models}}})
    eventually(lambda: all(node.annotation() not in {"", *said} for node in nodes))
    for node in nodes:
        node.mount()

    found = loaded(api, namespace, "True", "Loaded", "3 of 3 models are served by every pod.")

    assert "True" == condition(found, "Ready")["status"]
    assert [200] * 6 == [node.predict(name) for node in nodes for name in ("good", "bad", "third")]

    said = [node.annotation() for node in nodes]
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"models": models[:2]}}})
    eventually(lambda: all(node.annotation() not in said for node in nodes))
    for node in nodes:
        node.mount()
    eventually(lambda: all(node.predict("third") == 404 for node in nodes))

    assert [200, 200] == [node.predict("good") for node in nodes]
    assert before == template(api, namespace)
    assert sorted(pods) == sorted(pod["metadata"]["name"] for pod in pods_of(api, namespace))


def test_a_model_object_cannot_take_the_name_of_a_model_in_the_manifest(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    del operator
    api.create(namespace, inference_service(models=[named("good", "https://models.example/m.onnx")]))
    added = {"inferenceServiceRef": {"name": "iris"}, "storageUri": "https://models.example/n.onnx", "name": "good"}
    kind = {"apiVersion": "serving.pillion.dev/v1beta1", "kind": "Model", "metadata": {"name": "fraud"}}
    api.create(namespace, kind | {"spec": added})

    def refused() -> str:
        said = condition(api.get("Model", namespace, "fraud"), "Ready")
        message: str = said["message"] if said.get("reason") == "NameConflict" else ""
        return message

    message = eventually(refused)
    assert "The Model 'fraud' asks for the name 'good'" in message
    assert "spec.predictor.models of the InferenceService 'iris'" in message
    eventually(lambda: ["https://models.example/m.onnx"] == [model["uri"] for model in declared(api, namespace)])

    # With the name given up there, it is the Model's.
    models = [named("other", "https://models.example/m.onnx")]
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"models": models}}})
    eventually(lambda: {"good", "other"} == {model["name"] for model in declared(api, namespace)})
    eventually(lambda: not refused())


@pytest.mark.parametrize(
    ("predictor", "said"),
    [
        ({"models": [named("a", "s3://b/a"), named("a", "s3://b/c")]}, "Duplicate value"),
        ({"models": [named("a", "s3://b/a")], "onnx": {"storageUri": "s3://b/a"}}, "set exactly one of model, models"),
        ({"models": [named("a/b", "s3://b/a")]}, "a model's name has letters, digits"),
        ({"models": []}, "should have at least 1 items"),
        ({"models": [named("a", "s3://b/a")], "containers": [{"name": "kserve-container"}]}, "set exactly one of"),
    ],
)
def test_the_api_server_refuses_models_that_cannot_be_told_apart(
    api: Api, namespace: str, predictor: dict[str, Any], said: str
) -> None:
    path = f"/apis/serving.pillion.dev/v1beta1/namespaces/{namespace}/inferenceservices"

    answer = api.send("POST", path, inference_service(**predictor))

    assert 422 == answer.status_code
    assert said in answer.json()["message"]
