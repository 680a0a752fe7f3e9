"""`pillion deploy` against a real API server and operator; the tests play the kubelet's part."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.operator.harness import Api, OperatorProcess, eventually
from tests.integration.operator.test_conditions import container, play_kubelet, ready_reason
from tests.unit.cli.command import pillion
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from e2e.cluster.node.apiserver import ControlPlane
    from tests.integration.cli.user import User
    from tests.models import IrisModels

READY = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
}
MANIFEST = """
apiVersion: serving.pillion.dev/v1beta1
kind: InferenceService
metadata: {name: iris}
spec: {predictor: {sklearn: {storageUri: "configmap://iris/iris.skops"}}}
"""


@pytest.fixture
def model(user: User, iris: IrisModels) -> Path:
    """iris.skops in the user's folder."""
    return Path(shutil.copy(iris.skops, user.folder / "iris.skops"))


def digest_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_model_alone_becomes_a_service_and_is_waited_for(
    operator: OperatorProcess, api: Api, user: User, model: Path
) -> None:
    running = user.starts("deploy", "iris.skops", "--timeout", "100")
    play_kubelet(api, user.namespace, READY)
    stdout, stderr = running.communicate(timeout=WITHIN)

    assert 0 == running.returncode, stderr
    assert f"http://iris-predictor.{user.namespace}.svc.cluster.local" in stdout
    assert "inferenceservice.serving.pillion.dev/iris serverside-applied" in stderr
    service = api.get("InferenceService", user.namespace, "iris")
    assert service is not None
    digest = digest_of(model)
    name = f"iris-model-{digest.removeprefix('sha256:')[:8]}"
    wanted = {"modelFormat": {"name": "sklearn"}, "storageUri": f"configmap://{name}/iris.skops", "digest": digest}
    assert wanted == service["spec"]["predictor"]["model"]
    stored = api.get("ConfigMap", user.namespace, name)
    assert stored is not None
    assert model.read_bytes() == base64.b64decode(stored["binaryData"]["iris.skops"])
    assert stored["immutable"]


def test_a_manifest_brings_the_model_beside_it_and_a_new_model_is_a_new_version(
    operator: OperatorProcess, api: Api, user: User, model: Path, iris: IrisModels
) -> None:
    (user.folder / "inferenceservice.yaml").write_text(MANIFEST)

    def revision() -> str:
        deployment = api.get("Deployment", user.namespace, "iris-predictor")
        return str(deployment["spec"]["template"]["metadata"]["annotations"]) if deployment else ""

    assert 0 == user.types("deploy", "--timeout", "0").returncode
    first = eventually(revision)
    (user.folder / "iris.skops").write_bytes(iris.skops.read_bytes() + b"\0")
    done = user.types("deploy", "--timeout", "0")

    assert 0 == done.returncode, done.stderr
    assert "configmap/iris serverside-applied" in done.stderr
    eventually(lambda: revision() != first)


def test_a_failure_that_lasts_ends_it_with_the_reason_and_the_status(
    operator: OperatorProcess, api: Api, user: User, model: Path
) -> None:
    running = user.starts("deploy", "iris.skops", "--timeout", "100")
    ended = {"terminated": {"exitCode": 1, "message": "ImportError: no module named lightgbm"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    status = {"phase": "Running", "containerStatuses": [container("runtime", waiting, ended)]}
    play_kubelet(api, user.namespace, status)
    _, stderr = running.communicate(timeout=WITHIN)

    assert 1 == running.returncode
    assert "error: iris does not become ready: CrashLoopBackOff: " in stderr
    assert "ImportError: no module named lightgbm" in stderr
    assert "✗ Pod iris-predictor-" in stderr


def test_what_does_not_become_ready_in_time_says_what_it_waited_for(
    operator: OperatorProcess, api: Api, user: User, model: Path
) -> None:
    assert 0 == user.types("deploy", "iris.skops", "--timeout", "0").returncode
    waits = "0 of 1 pods are available."
    eventually(lambda: waits in ready_reason(api, user.namespace, "Starting")["message"])

    done = user.types("deploy", "iris.skops", "--timeout", "3")

    assert 1 == done.returncode
    assert f"iris is not ready after 3 s: Starting: {waits}" in done.stderr


def test_fields_that_somebody_else_manages_are_taken_over_only_by_force(
    operator: OperatorProcess, cluster: ControlPlane, user: User, model: Path
) -> None:
    other = MANIFEST.replace("iris.skops", "other.skops")
    cluster.kubectl("apply", "--server-side", "--field-manager=argocd", f"--namespace={user.namespace}", "-f", "-",
                    stdin=other)  # fmt: skip
    (user.folder / "inferenceservice.yaml").write_text(MANIFEST)

    refused = user.types("deploy", "--timeout", "0")

    assert 1 == refused.returncode
    assert "argocd manages fields that would change: .spec.predictor.sklearn.storageUri" in refused.stderr
    assert 0 == user.types("deploy", "--timeout", "0", "--force").returncode


def test_what_the_api_server_refuses_is_said(cluster: ControlPlane, user: User, model: Path) -> None:
    reader = cluster.kubeconfig_for("reader")
    denied = user.types("deploy", "iris.skops", KUBECONFIG=str(reader))

    assert (5, True) == (denied.returncode, 'User "reader" cannot patch resource "configmaps"' in denied.stderr)


def test_a_manifest_may_name_its_own_namespace(operator: OperatorProcess, api: Api, user: User, model: Path) -> None:
    (user.folder / "inferenceservice.yaml").write_text(
        MANIFEST.replace("{name: iris}", f"{{name: iris, namespace: {user.namespace}}}")
    )

    done = pillion("deploy", "--timeout", "0", cwd=user.folder, env=user.environment)

    assert 0 == done.returncode, done.stderr
    assert api.get("ConfigMap", user.namespace, "iris")
    assert api.get("InferenceService", user.namespace, "iris")


def test_a_dry_run_prints_what_the_api_server_takes(cluster: ControlPlane, user: User, model: Path) -> None:
    printed = user.types("deploy", "iris.skops", "--dry-run", PATH="/nonexistent").stdout

    kinds = [document["kind"] for document in yaml.safe_load_all(printed)]
    assert ["ConfigMap", "InferenceService"] == kinds
    checked = cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=printed)
    assert "inferenceservice.serving.pillion.dev/iris serverside-applied (server dry run)" in checked
    listed: dict[str, Any] = json.loads(user.types("deploy", "iris.skops", "--dry-run", "-o", "json").stdout)
    assert kinds == [item["kind"] for item in listed["items"]]
