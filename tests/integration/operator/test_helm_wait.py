"""`helm install --wait` comes back when it is true, with Helm 3 and Helm 4, and fails when it is not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node import gotools
from tests.integration.gitops.seen import pods_are, ready, until
from tests.integration.operator.harness import Api, OperatorProcess, eventually
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from e2e.cluster.node.apiserver import ControlPlane

CHART = Path(__file__).parents[3] / "charts" / "pillion"
#: The definitions are there already, for the other tests, and belong to no release; the cluster's other objects would
#: belong to the first of the releases of one name.
_VALUES = (
    "--set=crds.enabled=false",
    "--set=rbac.create=false",
    "--set=rbac.aggregateClusterRoles=false",
    "--set=admissionPolicy.enabled=false",
    "--set=activator.admissionPolicy=false",
)

either = pytest.mark.parametrize("program", ["helm", "helm4"])


def helm(cluster: ControlPlane, program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start Helm; both outputs are one."""
    command = [str(gotools.ensure([program])[program]), "--kubeconfig", str(cluster.kubeconfig), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=WITHIN)[0]


def operator_pods_are_ready(api: Api, namespace: str, number: int) -> None:
    """Play the kubelet for the Deployments of the operator and of the activator."""
    pods = eventually(lambda: found if len(found := api.list("Pod", namespace)) == number else None)
    assert pods is not None
    for pod in pods:
        api.patch("Pod", namespace, pod["metadata"]["name"], {"status": ready()}, subresource="status")


@either
def test_the_operators_release_is_waited_for_until_every_replica_is_ready(
    cluster: ControlPlane, api: Api, namespace: str, program: str
) -> None:
    waiting = helm(cluster, program, "install", "p", str(CHART), "-n", namespace, *_VALUES, "--wait", "--timeout=100s")
    eventually(lambda: len(api.list("Pod", namespace)) == 4 or waiting.poll() is not None)
    assert waiting.poll() is None, said(waiting)

    operator_pods_are_ready(api, namespace, 4)

    out = said(waiting)
    assert waiting.returncode == 0, out
    assert "deployed" in out


@either
def test_the_operators_release_fails_when_its_pods_do_not_become_ready(
    cluster: ControlPlane, api: Api, namespace: str, program: str
) -> None:
    waiting = helm(cluster, program, "install", "p", str(CHART), "-n", namespace, *_VALUES, "--wait", "--timeout=3s")

    out = said(waiting)
    assert waiting.returncode != 0, out


def chart(folder: Path, storage_uri: str) -> Path:
    """A user's own chart with one service."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: iris\nversion: 0.1.0\n")
    (folder / "templates" / "service.yaml").write_text(
        "apiVersion: serving.pillion.dev/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\n"
        f"spec: {{predictor: {{sklearn: {{storageUri: '{storage_uri}'}}}}}}\n"
    )
    return folder


def test_helm_4_waits_until_a_service_in_a_users_chart_is_ready(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    made = chart(tmp_path / "iris", "s3://models/iris")
    waiting = helm(cluster, "helm4", "install", "iris", str(made), "-n", namespace, "--wait", "--timeout=100s")
    until(api, namespace, Reconciling="True")
    eventually(lambda: api.list("Pod", namespace))
    assert waiting.poll() is None, said(waiting)

    pods_are(api, namespace, ready())

    out = said(waiting)
    assert waiting.returncode == 0, out
    until(api, namespace, Ready="True")


def test_helm_4_says_that_a_service_in_a_users_chart_failed(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    made = chart(tmp_path / "iris", "file:///tmp/iris")
    waiting = helm(cluster, "helm4", "install", "iris", str(made), "-n", namespace, "--wait", "--timeout=8s")

    out = said(waiting)

    assert waiting.returncode != 0, out
    assert "iris" in out
