"""What a token of the activator is good for, by the chart's roles and admission policies on a real API server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster.node.apiserver import ControlPlane
from tests.integration.operator.harness import Api
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import CompletedProcess

    import httpx

_SYSTEM = "pillion-system"
_SELECTOR = {
    "matchLabels": {"tenant": "shop"},
    "matchExpressions": [{"key": "stage", "operator": "NotIn", "values": ["test"]}],
}
_SCALE = "/apis/apps/v1/namespaces/{}/deployments/{}/scale"
_SLICE = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices/{}"
_MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def plane(helm: Callable[..., CompletedProcess[str]]) -> Iterator[ControlPlane]:
    """A control plane with the activator's part of a release that looks after namespaces with some labels."""
    shown = [f"--show-only=templates/{name}.yaml" for name in ("activator", "activatorpolicies")]
    values = ("--set", "scope=selected", "--set-json", f"namespaceSelector={json.dumps(_SELECTOR)}")
    done = helm("template", "pillion", "{chart}", "--namespace", _SYSTEM, *values, *shown)
    assert done.returncode == 0, done.stderr
    with ControlPlane() as started:
        started.kubectl("create", "namespace", _SYSTEM)
        started.kubectl("apply", "-f", "-", stdin=done.stdout)
        for namespace, labels in (("shop", "tenant=shop"), ("bank", "tenant=bank"), ("try", "tenant=shop,stage=test")):
            started.kubectl("create", "namespace", namespace)
            started.kubectl("label", "namespace", namespace, *labels.split(","))
            for manifest in objects():
                started.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))
        yield started


@pytest.fixture(scope="module")
def activator(plane: ControlPlane) -> Iterator[Api]:
    """The API by a token of the activator, once both policies are in force."""
    api = Api(plane.kubeconfig_for_service_account(_SYSTEM, "pillion-activator"))
    until_now(lambda: scaled(api, "bank", "iris-predictor", 1).status_code == 422)
    until_now(lambda: changed(api, "bank", "ours", {"endpoints": []}).status_code == 422)
    yield api
    api.close()


def objects() -> Iterator[dict[str, Any]]:
    """A Deployment of ours and one of somebody's without replicas, one with some; slices of ours and of others."""
    for name, label, replicas in (
        ("iris-predictor", "serving.pillion.dev/inferenceservice", 0),
        ("busy-predictor", "serving.pillion.dev/inferenceservice", 2),
        ("till", "app", 0),
    ):
        labels = {label: "iris"}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "localhost/none"}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
        yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    for name, manager, service, held in (
        ("ours", "pillion", f"{_SYSTEM}/pillion-activator", "true"),
        ("awake", "pillion", f"{_SYSTEM}/pillion-activator", "false"),
        ("others", "pillion", "elsewhere/pillion-activator", "true"),
        ("theirs", "endpointslice-controller.k8s.io", "", ""),
    ):
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "0"}
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "labels": {"endpointslice.kubernetes.io/managed-by": manager},
                "annotations": {
                    "serving.pillion.dev/activator": service,
                    "serving.pillion.dev/activator-holds": held,
                },
                "ownerReferences": [owner],
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 20001, "protocol": "TCP"}],
            "endpoints": [],
        }


def scaled(api: Api, namespace: str, name: str, replicas: int) -> httpx.Response:
    return api.send("PATCH", _SCALE.format(namespace, name), {"spec": {"replicas": replicas}}, _MERGE)


def changed(api: Api, namespace: str, name: str, patch: dict[str, Any]) -> httpx.Response:
    return api.send("PATCH", _SLICE.format(namespace, name), patch, _MERGE)


def led(address: str) -> dict[str, Any]:
    return {"endpoints": [{"addresses": [address], "conditions": {"ready": True}}]}


@pytest.mark.parametrize(
    ("namespace", "name", "replicas", "said"),
    [
        ("shop", "iris-predictor", 2, "gives a Deployment without replicas one"),
        ("shop", "busy-predictor", 1, "gives a Deployment without replicas one"),
        ("shop", "busy-predictor", 0, "gives a Deployment without replicas one"),
        ("shop", "till", 1, "wakes Deployments of InferenceServices alone"),
        ("bank", "iris-predictor", 1, "a namespace that is not looked after"),
        ("try", "iris-predictor", 1, "a namespace that is not looked after"),
    ],
)
def test_no_other_count_is_changed_and_none_elsewhere(
    activator: Api, namespace: str, name: str, replicas: int, said: str
) -> None:
    answer = scaled(activator, namespace, name, replicas)

    assert 422 == answer.status_code
    assert said in answer.json()["message"]


@pytest.mark.parametrize(
    ("namespace", "name", "patch", "said"),
    [
        ("shop", "theirs", led("10.0.0.1"), "slices of its own operator alone"),
        ("shop", "others", led("10.0.0.1"), "slices of its own operator alone"),
        ("shop", "awake", led("10.0.0.1"), "while it is to hold their connections"),
        ("bank", "ours", led("10.0.0.1"), "a namespace that is not looked after"),
        ("shop", "ours", {"ports": [{"name": "http", "port": 22}]}, "the addresses in a slice, and nothing else"),
        ("shop", "ours", {"metadata": {"labels": {"a": "b"}}}, "the addresses in a slice, and nothing else"),
        ("shop", "ours", {"metadata": {"annotations": {"a": "b"}}}, "the addresses in a slice, and nothing else"),
        ("shop", "ours", {"metadata": {"ownerReferences": []}}, "the addresses in a slice, and nothing else"),
        ("shop", "ours", {"metadata": {"finalizers": ["a/b"]}}, "the addresses in a slice, and nothing else"),
    ],
)
def test_nothing_but_addresses_is_changed_and_no_slice_of_others(
    activator: Api, namespace: str, name: str, patch: dict[str, Any], said: str
) -> None:
    answer = changed(activator, namespace, name, patch)

    assert 422 == answer.status_code
    assert said in answer.json()["message"]


def test_a_service_is_woken_and_its_slice_leads_to_the_activator(activator: Api) -> None:
    assert 200 == changed(activator, "shop", "ours", led("10.0.0.1")).status_code
    assert 200 == scaled(activator, "shop", "iris-predictor", 1).status_code


def test_nobody_else_is_held_to_it(activator: Api, plane: ControlPlane) -> None:
    administrator = Api(plane.kubeconfig)
    try:
        assert 200 == scaled(administrator, "shop", "busy-predictor", 3).status_code
        assert 200 == changed(administrator, "shop", "theirs", led("10.0.0.1")).status_code
    finally:
        administrator.close()
