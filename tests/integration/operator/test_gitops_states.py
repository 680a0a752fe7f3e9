"""Real objects of every kind in every state, as Flux, Helm 4 and Argo CD see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.gitops.seen import by_flux, pods_are, ready, seen, until
from tests.integration.gitops.tools import argo, build, flux, kstatus
from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service

if TYPE_CHECKING:
    from e2e.cluster.node.apiserver import ControlPlane

CONTAINERS = [{"name": "kserve-container", "image": "example.com/server:1"}]


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    build()


def runtime(name: str, kind: str = "ServingRuntime", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"supportedModelFormats": [{"name": "own"}], "containers": CONTAINERS, **spec},
    }


def test_a_service_is_in_progress_until_its_pods_are_ready_and_current_then(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service())
    until(api, namespace, Reconciling="True")
    assert ("InProgress", "Progressing") == seen(api, namespace)
    assert "InProgress" == by_flux(api, namespace)

    pods_are(api, namespace, ready())

    until(api, namespace, Ready="True", Reconciling="False")
    assert ("Current", "Healthy") == seen(api, namespace)
    assert "Current" == by_flux(api, namespace)


def test_a_service_that_nobody_has_looked_at_is_in_progress(api: Api, namespace: str) -> None:
    stored = api.create(namespace, inference_service())
    assert "InProgress" == flux(stored)[0].status


@pytest.mark.parametrize(
    ("predictor", "reason"),
    [
        ({"sklearn": {"storageUri": "file:///tmp/iris"}}, "LocalFile"),
        ({"sklearn": {"storageUri": "s3://models/iris"}, "nodeName": "Not A Node"}, "Refused"),
    ],
)
def test_a_service_that_waits_for_its_author_is_failed(
    operator: OperatorProcess, api: Api, namespace: str, predictor: dict[str, Any], reason: str
) -> None:
    api.create(namespace, inference_service(**predictor))

    until(api, namespace, Stalled="True")
    assert reason == condition(api.get("InferenceService", namespace, "iris"), "Stalled")["reason"]
    assert ("Failed", "Degraded") == seen(api, namespace)
    assert "Failed" == by_flux(api, namespace)


def test_a_service_whose_runtime_may_come_with_the_same_sync_is_in_progress(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service(tensorflow={"storageUri": "s3://models/iris"}))

    until(api, namespace, Ready="False", Reconciling="True", Stalled="False")
    assert ("InProgress", "Progressing") == seen(api, namespace)


def test_a_model_that_is_not_what_its_digest_says_is_failed(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service())
    word = '{"reason": "DigestMismatch", "message": "the digest is another", "remedy": "upload it again"}'
    ended = {"name": "storage", "ready": False, "restartCount": 1, "image": "x", "imageID": ""}
    ended |= {"state": {"terminated": {"exitCode": 30, "message": word}}, "lastState": {}}

    pods_are(api, namespace, {"phase": "Pending", "initContainerStatuses": [ended]})

    until(api, namespace, Stalled="True")
    assert ("Failed", "Degraded") == seen(api, namespace)


def test_containers_that_crash_are_degraded_at_once_and_never_current(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service())
    ended = {"name": "runtime", "ready": False, "restartCount": 1, "image": "x", "imageID": ""}
    ended |= {"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "lastState": {}}

    pods_are(api, namespace, {"phase": "Running", "containerStatuses": [ended]})

    def killed() -> bool:
        return bool(condition(api.get("InferenceService", namespace, "iris"), "Ready").get("reason") == "OOMKilled")

    eventually(killed)
    assert ("InProgress", "Degraded") == seen(api, namespace)


def test_a_stopped_service_is_suspended(operator: OperatorProcess, api: Api, namespace: str) -> None:
    api.create(namespace, inference_service(annotations={"serving.pillion.dev/stop": "true"}))

    until(api, namespace, Stopped="True", Reconciling="False", Stalled="False")
    # To kstatus what is not Ready is in progress; docs/how-to/gitops.md says what to do about it.
    assert ("InProgress", "Suspended") == seen(api, namespace)
    assert "Current" == by_flux(api, namespace)


def test_a_service_on_its_way_out_is_terminating(operator: OperatorProcess, api: Api, namespace: str) -> None:
    held = inference_service()
    held["metadata"]["finalizers"] = ["example.com/held"]
    api.create(namespace, held)
    until(api, namespace, Reconciling="True")

    api.delete("InferenceService", namespace, "iris")

    assert "Terminating" == seen(api, namespace)[0]
    api.patch("InferenceService", namespace, "iris", {"metadata": {"finalizers": None}})
    eventually(lambda: api.get("InferenceService", namespace, "iris") is None)


def test_a_runtime_is_current_once_it_is_stored_and_when_the_operator_has_seen_it(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    created = api.create(namespace, runtime("mine"))
    assert ("Current", "Healthy") == (kstatus(created)[0].status, argo("ServingRuntime", created)[0].status)

    until(api, namespace, kind="ServingRuntime", name="mine", Ready="True", Stalled="False", FieldsHonoured="True")
    assert ("Current", "Healthy") == seen(api, namespace, "ServingRuntime", "mine")


def test_a_runtime_of_the_whole_cluster_says_the_same(
    operator: OperatorProcess, cluster: ControlPlane, api: Api
) -> None:
    def look() -> Any:
        found = api.send("GET", "/apis/serving.pillion.dev/v1beta1/clusterservingruntimes/pillion-sklearn").json()
        return found if condition(found, "Ready") else None

    found = eventually(look)

    assert "Serves sklearn." == condition(found, "Ready")["message"]
    assert ("Current", "Healthy") == (kstatus(found)[0].status, argo("ClusterServingRuntime", found)[0].status)


def test_a_runtime_with_fields_without_effect_names_them_and_a_disabled_one_is_suspended(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, runtime("mesh", disabled=True, grpcEndpoint="port:8085"))

    until(api, namespace, kind="ServingRuntime", name="mesh", FieldsHonoured="False")
    found = api.get("ServingRuntime", namespace, "mesh")
    assert "spec.grpcEndpoint" in condition(found, "FieldsHonoured")["message"]
    assert ("Current", "Suspended") == seen(api, namespace, "ServingRuntime", "mesh")


def test_two_runtimes_that_fit_equally_are_both_named(operator: OperatorProcess, api: Api, namespace: str) -> None:
    formats = [{"name": "sklearn", "autoSelect": True}]
    api.create(namespace, runtime("second", supportedModelFormats=formats))
    api.create(namespace, runtime("first", supportedModelFormats=formats))
    api.create(namespace, inference_service())

    def chosen() -> str:
        found = api.get("InferenceService", namespace, "iris") or {}
        told: dict[str, str] = found.get("status", {}).get("runtime", {})
        return f"{told.get('name')}: {told.get('reason')}"

    eventually(lambda: chosen().startswith("first: ") and "'second' would fit as well" in chosen())
