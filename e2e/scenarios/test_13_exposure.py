"""Who may ask: a key from a Secret, and a NetworkPolicy under which probes and the operator still get through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.stage import infer_request

if TYPE_CHECKING:
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_URI = "configmap://iris/model.skops"
_KEY = "a-key-of-this-scenario"


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


def _status(stage: Stage, *headers: str) -> str:
    url = f"http://iris-predictor.{stage.namespace}.svc.cluster.local/v2/models/iris/infer"
    return stage.client(
        "curl", "--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "10",
        "--header", "Content-Type: application/json", *headers, "--data", infer_request(), url,
    ).stdout  # fmt: skip  # option and value read as pairs
