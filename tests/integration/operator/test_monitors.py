"""Objects of the Prometheus operator: only where its definitions are, also when they come or go while we run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.operator.harness import (
    Api,
    OperatorProcess,
    condition,
    eventually,
    inference_service,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane


def definition(kind: str, endpoints: str, endpoint: dict[str, Any]) -> dict[str, Any]:
    """What the Prometheus operator's own definition says of the fields that matter here, and nothing else of it."""
    text: dict[str, Any] = {"type": "string"}
    duration = text | {
        "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"
    }
    port = {"type": "object", "properties": {"path": text, "interval": duration} | endpoint}
    selector = {
        "type": "object",
        "properties": {"matchLabels": {"type": "object", "additionalProperties": text}},
        "x-kubernetes-map-type": "atomic",
    }
    names = {"type": "array", "items": text}
    fields = {
        endpoints: {"type": "array", "items": port},
        "selector": selector,
        "targetLabels": names,
        "podTargetLabels": names,
    }
    spec = {"type": "object", "required": ["selector", endpoints], "properties": fields}
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec}}
    plural = f"{kind.lower()}s"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names_ = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": names_, "versions": [version]},
    }


DEFINITIONS = (
    definition("ServiceMonitor", "endpoints", {"targetPort": {"x-kubernetes-int-or-string": True}}),
    definition("PodMonitor", "podMetricsEndpoints", {"port": {"type": "string"}}),
)
SERVICE_MONITOR = {"kind": "ServiceMonitor", "interval": "15s", "labels": {"release": "prometheus"}}


@pytest.fixture(scope="module")
def operator(operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator that asks often which kinds there are."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with running(operator_kubeconfig, log, lease_namespace="pillion-system", resync_seconds="2") as process:
        yield process.wait_leading()


@pytest.fixture(scope="module")
def prometheus_operator(cluster: ControlPlane) -> Iterator[None]:
    """From here on the cluster has the definitions."""
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(DEFINITIONS))
    yield
    for made in DEFINITIONS:
        cluster.kubectl("delete", "crd", made["metadata"]["name"], "--ignore-not-found")


def honoured(api: Api, namespace: str, status: str) -> str:
    """The message of FieldsHonoured, once it has that status."""

    def look() -> str:
        found = condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured")
        return str(found["message"]) if found.get("status") == status else ""

    return eventually(look)


def create(api: Api, namespace: str, monitor: dict[str, Any]) -> None:
    predictor: dict[str, Any] = {"metrics": {"monitor": monitor}, "sklearn": {"storageUri": "s3://models/iris"}}
    api.create(namespace, inference_service(**predictor))


# The order matters here: the first test runs before the definitions are there, the last takes them away.


def test_a_monitor_is_made_as_soon_as_the_cluster_knows_the_kind(
    operator: OperatorProcess, api: Api, namespace: str, request: pytest.FixtureRequest
) -> None:
    create(api, namespace, SERVICE_MONITOR)
    said = honoured(api, namespace, "False")
    assert "no ServiceMonitor of monitoring.coreos.com/v1; install the Prometheus operator" in said

    request.getfixturevalue("prometheus_operator")

    made = eventually(lambda: api.get("ServiceMonitor", namespace, "iris-predictor"))
    assert made is not None
    assert [{"targetPort": 8082, "path": "/metrics", "interval": "15s"}] == made["spec"]["endpoints"]
    assert "prometheus" == made["metadata"]["labels"]["release"]
    assert "InferenceService" == made["metadata"]["ownerReferences"][0]["kind"]
    honoured(api, namespace, "True")


def test_a_monitor_that_is_edited_or_deleted_is_restored(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, prometheus_operator: None
) -> None:
    create(api, namespace, {"kind": "PodMonitor"})
    made = eventually(lambda: api.get("PodMonitor", namespace, "iris-predictor"))
    assert made is not None
    edit = '{"spec": {"podMetricsEndpoints": [{"port": "other"}]}}'

    cluster.kubectl("patch", "podmonitor", "iris-predictor", "-n", namespace, "--type=merge", "-p", edit)
    eventually(lambda: (api.get("PodMonitor", namespace, "iris-predictor") or {}).get("spec") == made["spec"])
    api.delete("PodMonitor", namespace, "iris-predictor")
    eventually(
        lambda: (
            (api.get("PodMonitor", namespace, "iris-predictor") or made)["metadata"]["uid"] != made["metadata"]["uid"]
        )
    )


def test_another_kind_of_monitor_takes_the_first_ones_place(
    operator: OperatorProcess, api: Api, namespace: str, prometheus_operator: None
) -> None:
    create(api, namespace, SERVICE_MONITOR)
    eventually(lambda: api.get("ServiceMonitor", namespace, "iris-predictor"))

    other = {"kind": "PodMonitor", "interval": None, "labels": None}
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"metrics": {"monitor": other}}}})

    eventually(lambda: api.get("PodMonitor", namespace, "iris-predictor"))
    eventually(lambda: api.get("ServiceMonitor", namespace, "iris-predictor") is None)


def test_a_kind_that_goes_is_told_and_harms_nothing(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, prometheus_operator: None
) -> None:
    create(api, namespace, SERVICE_MONITOR)
    eventually(lambda: api.get("ServiceMonitor", namespace, "iris-predictor"))

    cluster.kubectl("delete", "crd", "servicemonitors.monitoring.coreos.com")

    assert "no ServiceMonitor of monitoring.coreos.com/v1" in honoured(api, namespace, "False")
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"minReplicas": 2}}})
    eventually(lambda: api.get("PodDisruptionBudget", namespace, "iris-predictor"))
