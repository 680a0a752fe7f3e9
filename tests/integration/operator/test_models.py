"""Models that join a running service. The tests play the kubelet's part; the runtime in the pod is a real one."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.definitions import eventually as succeeded
from tests.integration.operator.harness import Api, Object, OperatorProcess, condition, eventually, inference_service
from tests.integration.operator.kubelet import address
from tests.integration.operator.kubelet import pods as pods_of
from tests.integration.operator.node import CONFIG, HASH, Node, declared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane
    from tests.models import IrisModels

#: An address of this machine for the pod alone: the admin port is the same in every pod.
POD_IP = address(104)


def model(name: str = "fraud", /, service: str = "iris", **spec: Any) -> Object:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "Model",
        "metadata": {"name": name},
        "spec": {"inferenceServiceRef": {"name": service}, "storageUri": "https://models.example/m.onnx"} | spec,
    }


def ready(api: Api, namespace: str, name: str, reason: str, status: str = "False") -> Object:
    """The Model, once its condition Ready has that reason."""

    def look() -> Object | None:
        found = api.get("Model", namespace, name)
        said = condition(found, "Ready")
        return found if (said.get("reason"), said.get("status")) == (reason, status) else None

    found = eventually(look)
    assert found is not None
    return found


def told(api: Api, namespace: str, name: str, reason: str) -> list[tuple[str, str]]:
    """Types and messages of the events about an object, the oldest first."""
    events = api.list("Event", namespace, fieldSelector=f"involvedObject.name={name},reason={reason}")
    oldest = sorted(events, key=lambda event: int(event["metadata"]["resourceVersion"]))
    return [(event["type"], event["message"]) for event in oldest]


@pytest.fixture
def node(api: Api, namespace: str, operator: OperatorProcess, tmp_path: Path, iris: IrisModels) -> Iterator[Node]:
    """One pod of a service `iris`."""
    del operator
    api.create(namespace, inference_service())
    running = Node(api, namespace, tmp_path, POD_IP, own=iris.onnx)
    yield running
    running.process.kill()
    running.process.wait()


def test_models_join_a_running_pod_and_leave_it_without_a_new_one(
    api: Api, namespace: str, node: Node, web: str, iris: IrisModels
) -> None:
    digest = f"sha256:{hashlib.sha256(iris.onnx.read_bytes()).hexdigest()}"
    template = (api.get("Deployment", namespace, "iris-predictor") or {})["spec"]["template"]
    api.create(namespace, model("fraud", storageUri=f"{web}/m.onnx", digest=digest))
    api.create(namespace, model("churn", storageUri=f"{web}/m.onnx", name="Churn_2"))
    eventually(lambda: len(declared(api, namespace)) == 2)
    eventually(node.annotation)
    ready(api, namespace, "fraud", "Progressing")
    node.mount()

    fraud = ready(api, namespace, "fraud", "Served", "True")["status"]
    churn = ready(api, namespace, "churn", "Served", "True")["status"]

    assert {"loaded": 1, "wanted": 1, "summary": "1/1"} == fraud["replicas"]
    assert [{"name": node.pod, "state": "Ready", "digest": digest}] == fraud["pods"]
    assert ("fraud", "Churn_2") == (fraud["servedName"], churn["servedName"])
    assert churn["url"].endswith(f"iris-predictor.{namespace}.svc.cluster.local/v2/models/Churn_2")
    assert ("False", "False") == tuple(
        condition({"status": fraud}, kind)["status"] for kind in ("Reconciling", "Stalled")
    )
    assert [200, 200, 200] == [node.predict(name) for name in ("iris", "fraud", "Churn_2")]

    said = node.annotation()
    api.delete("Model", namespace, "fraud")
    eventually(lambda: node.annotation() != said)
    node.mount()
    eventually(lambda: node.predict("fraud") == 404)

    assert [200, 200] == [node.predict(name) for name in ("iris", "Churn_2")]
    api.delete("Model", namespace, "churn")
    eventually(lambda: api.get("ConfigMap", namespace, CONFIG) is None)
    eventually(lambda: not node.annotation())
    eventually(lambda: told(api, namespace, "fraud", "Served") == [("Normal", "Served as 'fraud' by 1 pod.")])
    leaving = [("Normal", f"The model {name!r} leaves the pods.") for name in ("fraud", "Churn_2")]
    eventually(lambda: leaving == told(api, namespace, "iris", "ModelRemoved"))
    assert template == (api.get("Deployment", namespace, "iris-predictor") or {})["spec"]["template"]
    assert [node.pod] == [pod["metadata"]["name"] for pod in pods_of(api, namespace)]


def test_a_wrong_digest_is_said_with_the_pod_and_is_mended_by_another_one(
    api: Api, namespace: str, node: Node, web: str, iris: IrisModels
) -> None:
    api.create(namespace, model("fraud", storageUri=f"{web}/m.onnx", digest=f"sha256:{'0' * 64}"))
    eventually(lambda: declared(api, namespace))
    node.mount()

    found = ready(api, namespace, "fraud", "DigestMismatch")

    message = condition(found, "Ready")["message"]
    assert f"Not served in pod {node.pod}" in message
    assert "give the new digest" in message
    assert "True" == condition(found, "Stalled")["status"]
    assert "Failed" == found["status"]["pods"][0]["state"]
    eventually(lambda: ("Warning", message) in told(api, namespace, "fraud", "DigestMismatch"))

    digest = f"sha256:{hashlib.sha256(iris.onnx.read_bytes()).hexdigest()}"
    api.patch("Model", namespace, "fraud", {"spec": {"digest": digest}})
    eventually(lambda: declared(api, namespace)[0]["digest"] == digest)
    node.mount()

    assert 2 == ready(api, namespace, "fraud", "Served", "True")["status"]["observedGeneration"]


def test_a_pod_that_cannot_be_reached_is_said(api: Api, namespace: str, node: Node) -> None:
    node.process.kill()
    node.process.wait()
    api.create(namespace, model())

    found = ready(api, namespace, "fraud", "PodNotReached")

    assert "port 8082" in condition(found, "Ready")["message"]
    assert ("True", "False") == tuple(condition(found, kind)["status"] for kind in ("Reconciling", "Stalled"))


def test_pods_are_told_to_look_only_once_there_is_something_to_see(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    del operator
    api.create(namespace, inference_service())
    pod = eventually(lambda: pods_of(api, namespace))[0]["metadata"]["name"]
    status = {"phase": "Running", "podIP": POD_IP, "podIPs": [{"ip": POD_IP}]}
    api.patch("Pod", namespace, pod, {"status": status}, subresource="status", manager="kubelet")
    api.create(namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}})

    def annotation() -> str:
        found: str = (api.get("Pod", namespace, pod) or {})["metadata"].get("annotations", {}).get(HASH, "")
        return found

    api.create(namespace, model())
    eventually(
        lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready").get("reason") == "NameConflict"
    )
    assert "" == annotation()
    api.delete("ConfigMap", namespace, CONFIG)
    eventually(annotation)
    assert declared(api, namespace)


def test_code_comes_into_a_services_pods_only_where_its_owner_says_so(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    del operator
    api.create(namespace, inference_service())
    api.create(namespace, model(allowPickle=True))

    message = condition(ready(api, namespace, "fraud", "UnsafeFormat"), "Ready")["message"]
    assert "the InferenceService 'iris' does not let Models bring pickles" in message
    assert [] == declared(api, namespace)

    consent = {"metadata": {"annotations": {"serving.pillion.dev/models-consent": "pickle"}}}
    api.patch("InferenceService", namespace, "iris", consent)
    assert eventually(lambda: declared(api, namespace))[0]["allowPickle"]
    api.patch("InferenceService", namespace, "iris", {"metadata": {"annotations": None}})
    eventually(lambda: not declared(api, namespace))


def test_a_missing_service_is_said_and_the_model_comes_with_it(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    del operator
    api.create(namespace, model())
    found = ready(api, namespace, "fraud", "InferenceServiceNotFound")
    assert "'iris', named in spec.inferenceServiceRef" in condition(found, "Ready")["message"]

    api.create(namespace, inference_service())

    eventually(lambda: [entry["name"] for entry in declared(api, namespace)] == ["fraud"])
    ready(api, namespace, "fraud", "Progressing")


def test_of_two_models_of_one_name_the_older_has_it_and_both_are_named(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    del operator
    api.create(namespace, inference_service())
    api.create(namespace, model("a-second", name="shared"))
    eventually(lambda: declared(api, namespace))
    api.create(namespace, model("b-third", name="shared"))

    found = ready(api, namespace, "b-third", "NameConflict")

    message = condition(found, "Ready")["message"]
    assert "'a-second'" in message
    assert "'b-third'" in message
    assert "True" == condition(found, "Stalled")["status"]
    assert ["shared"] == [entry["name"] for entry in declared(api, namespace)]

    api.delete("Model", namespace, "a-second")
    ready(api, namespace, "b-third", "Progressing")


def test_the_name_of_the_services_own_model_is_refused(api: Api, namespace: str, operator: OperatorProcess) -> None:
    del operator
    api.create(namespace, inference_service())
    api.create(namespace, model("iris"))

    ready(api, namespace, "iris", "NameConflict")

    assert [] == declared(api, namespace)


def test_a_service_that_is_not_served_by_pillion_is_said(api: Api, namespace: str, operator: OperatorProcess) -> None:
    del operator
    api.create(namespace, inference_service(containers=[{"name": "mine", "image": "example.com/mine:1"}]))
    eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))
    api.create(namespace, model())

    found = ready(api, namespace, "fraud", "RuntimeNotSupported")

    assert "is not Pillion's runtime" in condition(found, "Ready")["message"]


def test_a_model_that_names_another_service_moves(api: Api, namespace: str, operator: OperatorProcess) -> None:
    del operator
    for name in ("iris", "other"):
        api.create(namespace, inference_service(name))
    api.create(namespace, model())
    eventually(lambda: declared(api, namespace))

    api.patch("Model", namespace, "fraud", {"spec": {"inferenceServiceRef": {"name": "other"}}})

    eventually(lambda: declared(api, namespace, "other-predictor-models"))
    eventually(lambda: api.get("ConfigMap", namespace, CONFIG) is None)


def test_no_spec_is_written_and_settled_models_cost_no_writes(
    cluster: ControlPlane, api: Api, namespace: str, operator: OperatorProcess
) -> None:
    manifest = json.dumps(model())
    for how in ([], ["--server-side", "--force-conflicts"]):
        cluster.kubectl("apply", *how, "-n", namespace, "-f", "-", stdin=manifest)
        ready(api, namespace, "fraud", "InferenceServiceNotFound")
        # A status that is written between kubectl's two reads shows as a difference once; one in a spec stays.
        diff = partial(cluster.kubectl, "diff", *how, "-n", namespace, "-f", "-", stdin=manifest)
        assert "" == succeeded(diff)
    managers = (api.get("Model", namespace, "fraud") or {})["metadata"]["managedFields"]
    ours = [entry for entry in managers if entry["manager"].startswith("pillion-operator")]
    assert {"status"} == {field.removeprefix("f:") for entry in ours for field in entry["fieldsV1"]}
    del operator


def test_credentials_come_into_the_serving_container_only_with_models(
    cluster: ControlPlane, api: Api, namespace: str, operator: OperatorProcess
) -> None:
    del operator
    cluster.kubectl("create", "secret", "generic", "keys", "-n", namespace, "--from-literal=AWS_ACCESS_KEY_ID=a")
    account = {"metadata": {"name": "fetcher"}, "secrets": [{"name": "keys"}], "apiVersion": "v1"}
    api.create(namespace, account | {"kind": "ServiceAccount"})
    api.create(namespace, inference_service(serviceAccountName="fetcher", sklearn={"storageUri": "s3://models/iris"}))

    def variables() -> set[str]:
        deployment = api.get("Deployment", namespace, "iris-predictor") or {}
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        return {variable["name"] for variable in container.get("env", [])}

    eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))
    assert "AWS_ACCESS_KEY_ID" not in variables()

    api.create(namespace, model())

    eventually(lambda: "AWS_ACCESS_KEY_ID" in variables())
