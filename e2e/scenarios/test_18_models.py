"""Models that join a running service by kubectl, are called, and leave it, all without a new pod."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models
from e2e.harness.waiting import eventually
from e2e.harness.web import serve_files

if TYPE_CHECKING:
    from e2e.harness.manifests import Manifest
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full


def _model(name: str, uri: str, /, **spec: object) -> Manifest:
    return {
        "apiVersion": manifests.API_VERSION,
        "kind": "Model",
        "metadata": {"name": name},
        "spec": {"inferenceServiceRef": {"name": "iris"}, "storageUri": uri, **spec},
    }


def _condition(stage: Stage, name: str, kind: str = "Ready") -> dict[str, Any]:
    found = stage.get("pmodel", name) or {}
    conditions: list[dict[str, Any]] = found.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})


def _wait(stage: Stage, name: str, reason: str, within: float = 60) -> dict[str, Any]:
    return eventually(
        lambda: _condition(stage, name),
        lambda condition: condition.get("reason") == reason,
        within=within,
        what=f"Model {name} is {reason}",
    )


def _identities(stage: Stage) -> set[tuple[str, int]]:
    """Pods with the restarts of their containers."""
    return {
        (pod["metadata"]["uid"], sum(status["restartCount"] for status in pod["status"]["containerStatuses"]))
        for pod in stage.pods("iris")
    }


def test_two_models_join_a_running_service_and_one_leaves_without_a_new_pod(stage: Stage, report: Report) -> None:
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops", minReplicas=2))
    stage.wait_rolled_out("iris")
    before, address = _identities(stage), serve_files(stage, one=models.iris(shift=1), two=models.iris(shift=2))
    assert len(before) == 2

    began = time.monotonic()
    one, two = models.iris(shift=1), models.iris(shift=2)
    stage.apply(
        _model("one", f"{address}/one/model.skops", digest=one.digest),
        _model("two", f"{address}/two/model.skops", digest=two.digest, name="second"),
    )
    scope = f"--namespace={stage.namespace}"
    stage.target.kubectl("wait", "pmodel/one", "pmodel/two", "--for=condition=Ready", "--timeout=90s", scope)
    joined = time.monotonic() - began

    assert stage.predict("iris")["data"] == [0]
    assert [stage.predict("iris", model=name)["data"] for name in ("one", "second")] == [[1], [2]]
    status = (stage.get("pmodel", "one") or {})["status"]
    assert status["replicas"]["summary"] == "2/2"
    assert {pod["digest"] for pod in status["pods"]} == {one.digest}
    # Through the kubelet's own look, which is once a minute, it would take longer.
    assert joined < 45, f"it took {joined:.0f} s"

    stage.apply(_model("two", f"{address}/two/model.skops", digest=one.digest, name="second"))
    _wait(stage, "two", "DigestMismatch")
    assert stage.predict("iris", model="second")["data"] == [2], "what served before serves on"

    began = time.monotonic()
    stage.delete("pmodel", "one")
    done = eventually(
        lambda: stage.client(
            "curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "10",
            f"http://iris-predictor.{stage.namespace}.svc.cluster.local/v2/models/one/ready",
        ).stdout,
        lambda code: code == "404",
        within=60,
        what="the model is gone",
    )  # fmt: skip  # option and value read as pairs
    left = time.monotonic() - began
    assert done == "404"
    assert stage.predict("iris")["data"] == [0]
    assert _identities(stage) == before, "no pod is another one, and none was started again"
    report.add("models", joined_seconds=round(joined, 1), left_seconds=round(left, 1))
