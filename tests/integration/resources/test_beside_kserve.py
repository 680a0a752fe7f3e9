"""Our kinds beside KServe's in one cluster, and what stands there converted. The definitions have KServe's names."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e.cluster.node.apiserver import ControlPlane
from pillion.resources import validate
from pillion.resources.conversion import convert
from pillion.resources.crd import KINDS as OURS
from pillion.resources.crd import crd_yaml
from tests.integration.definitions import eventually, wait_until_established

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP = "serving.kserve.io"
KINDS: tuple[tuple[str, str, str, str, list[str]], ...] = (
    ("InferenceService", "inferenceservices", "v1beta1", "Namespaced", ["isvc"]),
    ("ServingRuntime", "servingruntimes", "v1alpha1", "Namespaced", []),
    ("ClusterServingRuntime", "clusterservingruntimes", "v1alpha1", "Cluster", []),
)
IRIS = {
    "apiVersion": f"{GROUP}/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "iris", "finalizers": ["inferenceservice.finalizers"]},
    "spec": {"predictor": {"onnx": {"storageUri": "s3://models/iris"}}},
}


def definition(kind: str, plural: str, version: str, scope: str, short: list[str]) -> dict[str, object]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "shortNames": short},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


@pytest.fixture(scope="module")
def both() -> Iterator[ControlPlane]:
    """A control plane of its own with KServe's kinds beside ours: names without a group may mean either there."""
    with ControlPlane() as started:
        started.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(definition(*kind) for kind in KINDS))
        for ours in OURS:
            started.kubectl("apply", "--server-side", "-f", "-", stdin=crd_yaml(ours))
            wait_until_established(started, ours)
        for _, plural, _, _, _ in KINDS:
            eventually(functools.partial(started.kubectl, "get", f"{plural}.{GROUP}", "-A"))
        yield started


@pytest.fixture
def namespace(both: ControlPlane, request: pytest.FixtureRequest) -> str:
    name: str = request.node.name.replace("_", "-")[:40].strip("-")
    both.kubectl("create", "namespace", name)
    return name


def test_no_name_of_ours_is_taken_from_kserve_or_by_it(both: ControlPlane, namespace: str) -> None:
    for name in ("inferenceservices", "servingruntimes", "clusterservingruntimes"):
        for group in (GROUP, "serving.pillion.dev"):
            found = json.loads(both.kubectl("get", "crd", f"{name}.{group}", "-o", "json"))
            conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
            assert {"NamesAccepted": "True", "Established": "True"} == conditions
    both.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(IRIS))

    assert "inferenceservice.serving.kserve.io/iris\n" == both.kubectl("get", "isvc", "-n", namespace, "-o", "name")
    assert "" == both.kubectl("get", "pisvc", "-n", namespace, "-o", "name")


def test_what_a_cluster_has_of_kserve_is_converted_and_applied_beside_it(both: ControlPlane, namespace: str) -> None:
    both.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(IRIS))
    status = ("patch", "isvc", "iris", "-n", namespace, "--subresource=status", "--type=merge")
    both.kubectl(*status, "-p", '{"status": {"url": "http://iris"}}')
    stored = both.kubectl("get", f"isvc,servingruntimes.{GROUP}", "-n", namespace, "-o", "yaml")

    conversion = convert([("-", stored)])

    assert [] == validate(conversion.text)
    both.kubectl("apply", "-n", namespace, "-f", "-", stdin=conversion.text)
    assert "" == both.kubectl("diff", "-n", namespace, "-f", "-", stdin=conversion.text)
    ours = json.loads(both.kubectl("get", "pisvc", "iris", "-n", namespace, "-o", "json"))
    assert IRIS["spec"] == ours["spec"]
    assert "finalizers" not in ours["metadata"]
