from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node.apiserver import ControlPlane
from pillion.resources.crd import KINDS, SIZE_LIMIT, Kind, crd_yaml
from tests.integration.definitions import eventually, wait_until_established

if TYPE_CHECKING:
    from collections.abc import Iterator

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)

IRIS = """
apiVersion: serving.pillion.dev/v1beta1
kind: InferenceService
metadata: {name: iris}
spec: {predictor: {sklearn: {storageUri: "configmap://iris"}}}
"""


@pytest.fixture(scope="module")
def empty() -> Iterator[ControlPlane]:
    """A control plane of its own, on which nothing is installed yet."""
    with ControlPlane() as started:
        yield started


@every_kind
def test_plain_apply_installs_the_definition_and_nothing_differs_after(empty: ControlPlane, kind: Kind) -> None:
    empty.kubectl("apply", "-f", "-", stdin=crd_yaml(kind))
    wait_until_established(empty, kind)

    assert "" == empty.kubectl("diff", "-f", "-", stdin=crd_yaml(kind))


@every_kind
def test_server_side_apply_installs_the_definition_and_nothing_differs_after(empty: ControlPlane, kind: Kind) -> None:
    empty.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=crd_yaml(kind))

    assert "" == empty.kubectl("diff", "--server-side", "--force-conflicts", "-f", "-", stdin=crd_yaml(kind))


@every_kind
def test_the_stored_definition_is_small_and_structural(installed: ControlPlane, kind: Kind) -> None:
    definition = json.loads(installed.kubectl("get", "crd", kind.crd_name, "-o", "json"))

    assert len(json.dumps(definition["spec"], separators=(",", ":"))) <= SIZE_LIMIT
    assert {condition["type"]: condition["status"] for condition in definition["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }


@pytest.mark.parametrize(
    ("field", "described"),
    [
        ("inferenceservice", "served over HTTP and gRPC behind one address"),
        ("inferenceservice.spec.predictor", "The component that answers predictions"),
        ("pisvc.spec.predictor.sklearn.storageUri", "Where the model's files are"),
        ("pisvc.spec.predictor.tls.mode", "Whether clients must show a certificate"),
        ("pisvc.spec.predictor.drain.windowSeconds", "still takes requests"),
        ("pisvc.status.conditions.reason", "One word for why"),
        ("prt.spec.containers", "is merged with the predictor's model"),
        ("pcrt.spec.supportedModelFormats.priority", "Which runtime is chosen"),
        ("pmodel", "removed from it, without new pods"),
        ("pmodel.spec.storageUri", "Every pod fetches and verifies them"),
        ("pmodel.status.pods.state", "the pod has not seen the declaration yet"),
        ("trainingjob", "goes on from its last checkpoint"),
        ("ptrain.spec.checkpoint.every", "The least time between two uploads"),
        ("ptrain.status.state", "which never changes again"),
        ("pbatch", "go on where they were lost"),
        ("pbatch.spec.input.uri", "all files of a known ending"),
        ("pbatch.status.shards.done", "whose predictions are in the output"),
    ],
)
def test_kubectl_explains_the_field(installed: ControlPlane, field: str, described: str) -> None:
    # The server aggregates a new CRD's OpenAPI document a moment after the CRD is established.
    assert described in " ".join(eventually(lambda: installed.kubectl("explain", field)).split())


def test_kubectl_lists_objects_by_short_name_and_category_with_the_columns(
    installed: ControlPlane, namespace: str
) -> None:
    installed.kubectl("apply", "-n", namespace, "-f", "-", stdin=IRIS)
    status = {
        "observedGeneration": 1,
        "url": "http://iris-predictor.example.svc.cluster.local",
        "replicas": {"ready": 1, "desired": 2, "summary": "1/2"},
        "canary": {"requested": 10, "actual": 50, "mechanism": "pods"},
        "modelStatus": {"transitionStatus": "InProgress", "states": {"activeModelState": "Loading"}},
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "OOMKilled",
                "message": "give it more memory",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
                "observedGeneration": 1,
            }
        ],
    }
    patch = json.dumps({"status": status})
    installed.kubectl("patch", "pisvc", "iris", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)

    header, row = installed.kubectl("get", "pisvc", "-n", namespace).splitlines()

    assert ["NAME", "URL", "READY", "REPLICAS", "CANARY", "MODEL", "REASON", "AGE"] == header.split()
    assert ["iris", str(status["url"]), "False", "1/2", "50", "Loading", "OOMKilled"] == row.split()[:-1]
    assert "inferenceservice.serving.pillion.dev/iris" in installed.kubectl(
        "get", "pillion", "-n", namespace, "-o", "name"
    )


def test_the_status_is_a_subresource_of_its_own(installed: ControlPlane, namespace: str) -> None:
    installed.kubectl("apply", "-n", namespace, "-f", "-", stdin=IRIS)

    installed.kubectl("patch", "pisvc", "iris", "-n", namespace, "--type=merge", "-p", '{"status": {"url": "x"}}')

    unseen = '{"observedGeneration":-1}'
    assert unseen == installed.kubectl("get", "pisvc", "iris", "-n", namespace, "-o", "jsonpath={.status}")


def test_there_is_no_scale_subresource(installed: ControlPlane, namespace: str) -> None:
    installed.kubectl("apply", "-n", namespace, "-f", "-", stdin=IRIS)

    with pytest.raises(subprocess.CalledProcessError):
        installed.kubectl("scale", "pisvc/iris", "-n", namespace, "--replicas=2")


def test_without_validation_an_unknown_field_is_pruned_and_warned_of(installed: ControlPlane, namespace: str) -> None:
    manifest = IRIS.replace("{sklearn:", "{minReplica: 2, sklearn:")

    installed.kubectl("apply", "--validate=warn", "-n", namespace, "-f", "-", stdin=manifest)

    assert "minReplica" not in installed.kubectl("get", "pisvc/iris", "-n", namespace, "-o", "jsonpath={.spec}")


def test_two_managers_may_each_own_a_variable_of_one_container(installed: ControlPlane, namespace: str) -> None:
    def with_variable(name: str) -> str:
        predictor = {"sklearn": {"storageUri": "configmap://iris", "env": [{"name": name, "value": "1"}]}}
        document = {
            "apiVersion": "serving.pillion.dev/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "iris"},
            "spec": {"predictor": predictor},
        }
        return json.dumps(document)

    for manager in ("ONE", "TWO"):
        apply = ("apply", "-n", namespace, "--server-side", f"--field-manager={manager}", "-f", "-")
        installed.kubectl(*apply, stdin=with_variable(manager))

    path = "jsonpath={.spec.predictor.sklearn.env[*].name}"
    assert "ONE TWO" == installed.kubectl("get", "pisvc/iris", "-n", namespace, "-o", path)
