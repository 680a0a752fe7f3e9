"""KServe's objects, served: by KServe's own client and definitions, judged by the rule that Argo CD has for them."""

from __future__ import annotations

import itertools
import json
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import kserve
from pillion_operator.rbac import manifests
from tests.conformance.environments import environment
from tests.integration.definitions import eventually as succeeds
from tests.integration.gitops.seen import pods_are, ready
from tests.integration.gitops.tools import argo_of_kserve
from tests.integration.operator.harness import (
    Api,
    Object,
    OperatorProcess,
    apply,
    condition,
    eventually,
    inference_service,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node.apiserver import ControlPlane

SCRIPT = Path(__file__).parents[2] / "conformance" / "scripts" / "kserve_cluster.py"
THEIRS = "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def definitions(cluster: ControlPlane) -> Iterator[None]:
    """KServe's definition of the kind, for as long as this module runs."""
    (file,) = (path for path in kserve.definitions() if path.name.endswith("_inferenceservices.yaml"))
    cluster.kubectl("apply", "--server-side", "-f", str(file))
    succeeds(partial(cluster.kubectl, "get", "inferenceservices.serving.kserve.io", "-A"))
    yield
    cluster.kubectl("delete", "--timeout=100s", "-f", str(file))


@pytest.fixture(scope="module")
def mode(
    cluster: ControlPlane, operator_kubeconfig: Path, definitions: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """An operator with the mode on, for all objects, under exactly the rights that the chart grants then."""
    del operator_kubeconfig  # It has made the namespace.
    name = "pillion-kserve"
    cluster.kubectl("create", "serviceaccount", name, "--namespace", "pillion-system")
    apply(cluster, *manifests(service_account=name, operator_namespace="pillion-system", name=name, kserve=True))
    kubeconfig = cluster.kubeconfig_for_service_account("pillion-system", name)
    log = tmp_path_factory.mktemp("kserve") / "operator.log"
    settings = {"lease_namespace": "pillion-system", "kserve": "true", "kserve_objects": "all"}
    with running(kubeconfig, log, **settings) as process:
        yield process.wait_leading()


def create(api: Api, namespace: str, predictor: Object | None = None, **metadata: Any) -> Object:
    answer = api.send(
        "POST",
        THEIRS.format(namespace),
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "iris", **metadata},
            "spec": {"predictor": predictor or {"sklearn": {"storageUri": "s3://models/iris.skops"}}},
        },
    )
    assert answer.status_code == 201, answer.text
    created: Object = answer.json()
    return created


def theirs(api: Api, namespace: str, name: str = "iris") -> Object | None:
    answer = api.send("GET", f"{THEIRS.format(namespace)}/{name}")
    return None if answer.status_code == 404 else answer.json()


def change(api: Api, namespace: str, patch: Object) -> None:
    answer = api.send("PATCH", f"{THEIRS.format(namespace)}/iris", patch, MERGE)
    assert answer.status_code == 200, answer.text


def health(api: Api, namespace: str) -> str:
    found = theirs(api, namespace)
    assert found is not None
    return argo_of_kserve(found)[0].status


def until(api: Api, namespace: str, **wanted: str) -> Object:
    """Wait until conditions of KServe's object have these statuses or reasons, of the newest generation."""

    def look() -> Object | None:
        found = theirs(api, namespace)
        if found is None or found.get("status", {}).get("observedGeneration") != found["metadata"]["generation"]:
            return None
        said = {kind: condition(found, kind) for kind in wanted}
        return found if all(v in {said[k].get("status"), said[k].get("reason")} for k, v in wanted.items()) else None

    found = eventually(look)
    assert found is not None
    return found


def run_pods(api: Api, namespace: str) -> None:
    """Play the kubelet for the pods that are there now; one may go meanwhile."""
    for pod in api.list("Pod", namespace):
        if not condition(pod, "Ready"):
            path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/status"
            answer = api.send("PATCH", path, {"status": ready()}, "application/strategic-merge-patch+json")
            assert answer.status_code in {200, 404}, answer.text


def events(api: Api, namespace: str) -> list[tuple[str, str]]:
    found = api.list("Event", namespace)
    return [
        (event["reason"], event["message"])
        for event in found
        if event["involvedObject"]["apiVersion"].startswith("serving.kserve.io/")
    ]


def test_kserves_own_client_creates_waits_gets_replaces_and_deletes(
    mode: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    command = [str(part) for part in (environment("kserve"), "-I", SCRIPT, cluster.kubeconfig, namespace, "iris")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:

        def ended() -> bool:
            run_pods(api, namespace)
            return client.poll() is not None

        eventually(ended, within=280, pause=0.3)
        assert client.stdout is not None
        said = client.stdout.read()
    assert 0 == client.returncode, said
    results = json.loads(said.splitlines()[-1])

    assert [1, False] == [results["created"], results["ready_at_once"]]
    first, second = results["ready"]["status"], results["replaced"]["status"]
    url = f"http://iris-predictor.{namespace}.svc.cluster.local"
    assert [url, url, url] == [
        first["url"], first["address"]["url"], first["components"]["predictor"]["url"]
    ]  # fmt: skip
    assert ["pillion-sklearn", "Standard"] == [first["clusterServingRuntimeName"], first["deploymentMode"]]
    assert "UpToDate" == first["modelStatus"]["transitionStatus"]
    assert [1, 2] == [first["observedGeneration"], second["observedGeneration"]]
    eventually(lambda: api.get("InferenceService", namespace, "iris") is None)
    eventually(lambda: api.get("Deployment", namespace, "iris-predictor") is None)


def test_argo_cd_sees_each_state_of_a_service_as_what_it_is(mode: OperatorProcess, api: Api, namespace: str) -> None:
    stored = create(api, namespace)
    assert "Progressing" == argo_of_kserve(stored)[0].status
    until(api, namespace, Ready="False")
    assert "Progressing" == health(api, namespace)

    pods_are(api, namespace, ready())
    until(api, namespace, Ready="True", PredictorReady="True", IngressReady="True", Stopped="False")
    eventually(lambda: health(api, namespace) == "Healthy")
    assert {} == condition(theirs(api, namespace), "FieldsIgnored")
    # An event is posted after the status that it tells of.
    eventually(lambda: "Loaded" in {reason for reason, _ in events(api, namespace)})

    change(api, namespace, {"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}})
    until(api, namespace, Stopped="True")
    eventually(lambda: health(api, namespace) == "Suspended")


def test_containers_that_are_killed_make_a_degraded_service(mode: OperatorProcess, api: Api, namespace: str) -> None:
    create(api, namespace)
    ended = {"name": "runtime", "ready": False, "restartCount": 1, "image": "x", "imageID": ""}
    ended |= {"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "lastState": {}}

    pods_are(api, namespace, {"phase": "Running", "containerStatuses": [ended]})

    failure = until(api, namespace, Ready="OOMKilled")["status"]["modelStatus"]["lastFailureInfo"]
    eventually(lambda: health(api, namespace) == "Degraded")
    assert "RuntimeUnhealthy" == failure["reason"]
    assert "OOMKilled: " in failure["message"]


def test_a_field_without_effect_is_named_and_does_not_keep_a_service_from_being_healthy(
    mode: OperatorProcess, api: Api, namespace: str
) -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris.skops"}
    target = "autoscaling.knative.dev/target"
    create(api, namespace, {"model": {**model, "runtime": "kserve-sklearnserver"}}, annotations={target: "10"})
    eventually(lambda: api.list("Pod", namespace))
    pods_are(api, namespace, ready())

    told = condition(until(api, namespace, Ready="True", FieldsIgnored="True"), "FieldsIgnored")["message"]

    assert "spec.predictor.model.runtime" in told
    assert f"metadata.annotations[{target}]" in told
    assert "conversion" not in told
    eventually(lambda: health(api, namespace) == "Healthy")


def test_what_cannot_be_served_as_it_is_written_is_degraded_and_says_which_field(
    mode: OperatorProcess, api: Api, namespace: str
) -> None:
    create(api, namespace, {"minReplicas": 3, "maxReplicas": 1, "sklearn": {"storageUri": "s3://models/iris.skops"}})

    found = until(api, namespace, Ready="InvalidSpec")

    assert "maxReplicas" in condition(found, "Ready")["message"]
    eventually(lambda: health(api, namespace) == "Degraded")
    assert None is api.get("InferenceService", namespace, "iris")


def test_a_service_of_pillion_in_the_way_is_not_touched_and_named_until_it_has_gone(
    mode: OperatorProcess, api: Api, namespace: str
) -> None:
    other = api.create(namespace, inference_service(onnx={"storageUri": "s3://models/other.onnx"}))
    create(api, namespace)

    until(api, namespace, Ready="NameConflict")
    eventually(lambda: health(api, namespace) == "Degraded")
    kept = api.get("InferenceService", namespace, "iris")
    assert kept is not None
    assert (other["metadata"]["uid"], other["spec"]) == (kept["metadata"]["uid"], kept["spec"])

    api.delete("InferenceService", namespace, "iris")
    until(api, namespace, Ready="Starting")


def test_a_change_of_somebody_else_to_what_stands_for_it_is_undone(
    mode: OperatorProcess, api: Api, namespace: str
) -> None:
    create(api, namespace)
    until(api, namespace, Ready="False")
    wanted = (eventually(lambda: api.get("InferenceService", namespace, "iris")) or {})["spec"]

    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"minReplicas": 3, "maxReplicas": 3}}})

    eventually(lambda: (api.get("InferenceService", namespace, "iris") or {}).get("spec") == wanted)


def test_what_is_not_to_be_served_is_left_alone_and_what_was_made_for_it_goes(
    mode: OperatorProcess, api: Api, namespace: str
) -> None:
    create(api, namespace)
    url = until(api, namespace, Ready="False", IngressReady="True")["status"]["url"]

    change(api, namespace, {"metadata": {"labels": {"serving.pillion.dev/managed": "false"}}})

    eventually(lambda: api.get("InferenceService", namespace, "iris") is None)
    assert url == (theirs(api, namespace) or {})["status"]["url"], "its last status stays"
    assert "LeftToKServe" not in {reason for reason, _ in events(api, namespace)}


def test_what_kserves_controller_works_on_is_given_up_and_its_author_told(
    mode: OperatorProcess, api: Api, namespace: str
) -> None:
    create(api, namespace)
    until(api, namespace, Ready="False")

    change(api, namespace, {"metadata": {"finalizers": ["inferenceservice.finalizers"]}})

    eventually(lambda: api.get("InferenceService", namespace, "iris") is None)
    eventually(lambda: "LeftToKServe" in {reason for reason, _ in events(api, namespace)})
    change(api, namespace, {"metadata": {"finalizers": None}})
    eventually(lambda: api.get("InferenceService", namespace, "iris"))


def test_beside_kserves_controller_only_what_that_leaves_alone_is_served(
    mode: OperatorProcess, api: Api, namespace: str
) -> None:
    name = "inferenceservice.serving.kserve.io"
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
    }
    looks = itertools.count()
    assert 201 == api.send("POST", WEBHOOKS, webhook).status_code
    try:
        # It is looked for every ten seconds: one that was created before that is known is served for so long.
        def told() -> bool:
            change(api, namespace, {"metadata": {"annotations": {"look": str(next(looks))}}})
            return "LeftToKServe" in {reason for reason, _ in events(api, namespace)}

        create(api, namespace)
        eventually(told, pause=1.0)
        labels = {"serving.pillion.dev/managed": "true"}
        create(
            api, namespace, name="ours", labels=labels, annotations={"serving.kserve.io/deploymentMode": "ModelMesh"}
        )
        eventually(lambda: condition(theirs(api, namespace, "ours"), "Ready").get("status") == "False")
    finally:
        api.send("DELETE", f"{WEBHOOKS}/{name}")
    ours = theirs(api, namespace, "ours")
    assert ours is not None
    assert "ModelMesh" == ours["status"]["deploymentMode"]
