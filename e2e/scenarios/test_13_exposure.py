"""Who may ask: a key from a Secret, and a NetworkPolicy that is enforced, which probes and the operator get through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.harness import firewall, manifests, models
from e2e.harness.stage import infer_request
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_URI = "configmap://iris/model.skops"
_KEY = "a-key-of-this-scenario"
_CURL = ("curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", "--max-time", "3")


def test_a_key_from_a_secret_is_asked_for_on_rest_and_grpc(stage: Stage) -> None:
    env = [{"name": "PILLION_API_KEY", "valueFrom": {"secretKeyRef": {"name": "iris-key", "key": "key"}}}]
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": _URI, "env": env}
    stage.apply(
        manifests.config_map("iris", models.iris()),
        manifests.secret("iris-key", {"key": _KEY}),
        manifests.inference_service("iris", model=model),
    )
    stage.wait_ready("iris")

    assert _status(stage) == "401"
    assert _status(stage, "--header", "X-API-Key: another") == "401"
    assert _status(stage, "--header", f"X-API-Key: {_KEY}") == "200"
    assert _status(stage, "--header", f"Authorization: Bearer {_KEY}") == "200"
    host = f"iris-predictor.{stage.namespace}.svc.cluster.local:8081"
    refused = stage.client("grpcurl", "-plaintext", host, "list", check=False)
    assert "PILLION_API_KEY" in refused.stdout + refused.stderr
    listed = stage.client("grpcurl", "-plaintext", "-H", f"x-api-key: {_KEY}", host, "list")
    assert "inference.GRPCInferenceService" in listed.stdout


def test_a_policy_lets_the_service_become_ready_and_its_callers_in(stage: Stage) -> None:
    callers = [{"podSelector": {"matchLabels": {"app": "client"}}}]
    policy = {"from": callers, "adminFrom": []}
    stage.apply(
        manifests.config_map("iris", models.iris()),
        manifests.inference_service("iris", _URI, networkPolicy=policy),
    )

    stage.wait_ready("iris")

    assert stage.predict("iris")["data"] == [0]
    found = stage.get("networkpolicy", "iris-predictor")
    assert found is not None
    assert [callers] == [rule["from"] for rule in found["spec"]["ingress"] if rule["ports"][0]["port"] == 8080]


def test_an_enforced_policy_lets_the_named_callers_through_and_nobody_else(
    stage: Stage, new_stage: Callable[[str], Stage], tmp_path: Path
) -> None:
    monitoring, strangers = new_stage("monitoring"), new_stage("strangers")
    stage.apply(manifests.config_map("iris", models.iris()), manifests.inference_service("iris", _URI))
    stage.apply(manifests.pod("neighbour", stage.target.image("client"), ["sleep", "600"]))
    stage.wait_ready("iris")
    host = f"iris-predictor.{stage.namespace}.svc.cluster.local"
    (pod,) = stage.pods("iris")
    rest, grpc = f"http://{host}/v2/models/iris", f"{host}:8081"
    metrics = f"http://{pod['status']['podIP']}:8082/metrics"

    def curl(caller: Stage, url: str) -> bool:
        return caller.client(*_CURL, url, check=False).status == 0

    def neighbour() -> bool:
        scope = f"--namespace={stage.namespace}"
        return stage.target.kubectl.run("exec", scope, "neighbour", "--", *_CURL, rest, check=False).status == 0

    def calls_grpc(caller: Stage) -> bool:
        return caller.client("grpcurl", "-plaintext", "-connect-timeout=2", grpc, "list", check=False).status == 0

    with firewall.enforced(stage.target, tmp_path / "firewall.log"):
        # Without a policy everybody gets everywhere: what is refused below is refused by it.
        for caller in (stage, monitoring, strangers):
            assert (curl(caller, rest), calls_grpc(caller), curl(caller, metrics)) == (True, True, True)
        assert neighbour()
        policy = {
            "from": [{"podSelector": {"matchLabels": {"app": "client"}}}],
            "adminFrom": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": monitoring.namespace}}}
            ],
        }

        stage.patch("pisvc", "iris", {"spec": {"predictor": {"networkPolicy": policy}}})

        eventually(lambda: curl(strangers, rest), lambda through: not through, within=60, what="strangers are refused")
        assert (calls_grpc(strangers), curl(strangers, metrics)) == (False, False)
        assert not neighbour(), "a pod of the namespace without the label"
        assert (curl(stage, rest), calls_grpc(stage), curl(stage, metrics)) == (True, True, False)
        assert (curl(monitoring, rest), calls_grpc(monitoring), curl(monitoring, metrics)) == (False, False, True)
        assert stage.predict("iris")["data"] == [0]

        # A new pod becomes ready by the kubelet's probes, and the operator reads why another one does not.
        stage.apply(manifests.config_map("corrupt", models.corrupt_iris()))
        broken = {"spec": {"predictor": {"model": {"storageUri": "configmap://corrupt/model.skops"}}}}
        stage.patch("pisvc", "iris", broken)
        stage.wait_reason("iris", "ModelLoadFailed")
        assert stage.predict("iris")["data"] == [0], "the old version serves on"
        stage.patch("pisvc", "iris", {"spec": {"predictor": {"model": {"storageUri": _URI}}}})
        stage.delete("pod", pod["metadata"]["name"], "--wait=false")
        stage.wait_ready("iris")
        stage.wait_rolled_out("iris", old_gone=True)
        eventually(lambda: curl(stage, rest), within=60, what="callers reach the new pod")


def _status(stage: Stage, *headers: str) -> str:
    url = f"http://iris-predictor.{stage.namespace}.svc.cluster.local/v2/models/iris/infer"
    return stage.client(
        "curl", "--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "10",
        "--header", "Content-Type: application/json", *headers, "--data", infer_request(), url,
    ).stdout  # fmt: skip  # option and value read as pairs
