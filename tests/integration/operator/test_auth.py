"""`spec.auth`: what pods get to know their callers by, and what keeps them from it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.harness import Api, Object, OperatorProcess, condition, eventually, inference_service
from tests.integration.operator.kubelet import pods

if TYPE_CHECKING:
    from e2e.cluster.node.apiserver import ControlPlane

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def asking(auth: dict[str, Any], **predictor: Any) -> Object:
    manifest = inference_service(sklearn={"storageUri": "s3://models/iris"}, **predictor)
    manifest["spec"]["auth"] = auth
    return manifest


def told(api: Api, namespace: str, reason: str) -> str:
    """The message of PredictorReady, once it has that reason."""

    def look() -> str:
        found = condition(api.get("InferenceService", namespace, "iris"), "PredictorReady")
        return str(found["message"]) if found.get("reason") == reason else ""

    return eventually(look)


def test_pods_that_may_not_ask_about_tokens_are_told_until_the_command_of_the_condition_was_run(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str
) -> None:
    cluster.kubectl("create", "serviceaccount", "iris", "--namespace", namespace)
    api.create(namespace, asking({"serviceAccount": {}}, serviceAccountName="iris"))

    said = told(api, namespace, "CallersNotReviewed")
    assert "ServiceAccount 'iris' may not create tokenreviews and subjectaccessreviews" in said

    command = shlex.split(said.partition("run '")[2].partition("'")[0])
    assert "kubectl" == command[0]
    cluster.kubectl(*command[1:])
    told(api, namespace, "Starting")


@pytest.mark.parametrize("more", [{}, {"automountServiceAccountToken": True}], ids=["by default", "automounted"])
def test_the_api_server_admits_pods_with_one_token_in_the_container_that_serves(
    operator: OperatorProcess, api: Api, namespace: str, more: dict[str, bool]
) -> None:
    beside = {"name": "beside", "image": "a:1"}
    api.create(namespace, asking({"serviceAccount": {}}, containers=[beside], **more))

    pod = eventually(lambda: pods(api, namespace))[0]
    mounted = {
        container["name"]: [one["name"] for one in container["volumeMounts"] if one["mountPath"] == ACCOUNT]
        for container in ({"volumeMounts": []} | one for one in pod["spec"]["containers"])
    }
    assert ["reviewer"] == mounted["runtime"]
    assert bool(more) == bool(mounted["beside"])


def test_a_secret_of_keys_that_lacks_is_named_until_it_is_there(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, asking({"apiKeys": {"secretName": "iris-keys"}}))

    assert "Secret 'iris-keys', named in auth.apiKeys, is not there" in told(api, namespace, "SecretNotFound")

    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "iris-keys"}, "stringData": {"shop": "k"}}
    api.create(namespace, keys)
    told(api, namespace, "Starting")
    pod = eventually(lambda: pods(api, namespace))[0]
    assert "api-keys" in [volume["name"] for volume in pod["spec"]["volumes"]]


def test_a_container_that_is_not_ours_is_not_served_openly(operator: OperatorProcess, api: Api, namespace: str) -> None:
    manifest = inference_service(containers=[{"name": "kserve-container", "image": "a:1"}])
    manifest["spec"]["auth"] = {"apiKeys": {"secretName": "iris-keys"}}
    api.create(namespace, manifest)

    assert "is not Pillion's runtime" in told(api, namespace, "InvalidSpec")
    assert api.get("Deployment", namespace, "iris-predictor") is None
