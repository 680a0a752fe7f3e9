"""Graphs of a manifest, with the runtime itself in the place of the pod's container."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import yaml

import pillion
from pillion import Model, task
from pillion_operator.state.names import ADMIN_PORT
from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service
from tests.integration.operator.kubelet import address
from tests.integration.operator.test_conditions import pod_of, ready_reason

if TYPE_CHECKING:
    from pathlib import Path

ALONE: dict[str, Any] = {"containers": [{"name": "runtime"}]}


class Fraud(Model):
    """Another service of the cluster."""

    @task
    def score(self, amount: float) -> float:
        """How odd it is."""
        return amount / 1000


def graph(url: str) -> dict[str, Any]:
    """Score each of a list, and say something of those that are odd."""
    return {
        "nodes": {
            "root": {"type": "map", "steps": [{"node": "each"}]},
            "each": {
                "type": "sequence",
                "steps": [
                    {"service": url, "model": "fraud", "task": "score", "name": "fraud"},
                    {"service": url, "model": "fraud", "task": "score", "name": "again", "when": ". > 1"},
                ],
            },
        }
    }


def test_a_graph_alone_is_served_by_the_runtime_of_the_predictor(
    operator: OperatorProcess, api: Api, namespace: str, tmp_path: Path
) -> None:
    with pillion.serve(Fraud, blocking=False) as other:
        manifest = inference_service(**ALONE)
        manifest["spec"]["graph"] = graph(other.url)
        api.create(namespace, manifest)

        runtime = pod_of(api, namespace)["spec"]["containers"][0]
        assert "runtime" == runtime["name"]
        assert runtime["image"]
        config = api.get("ConfigMap", namespace, "iris-predictor-runtime")
        assert config is not None
        file = tmp_path / "runtime.yaml"
        file.write_text(config["data"]["runtime.yaml"])
        assert ["iris"] == [model["name"] for model in yaml.safe_load(file.read_text())["models"]]
        ip = address(103)
        hosts = [f"--{port}-host={ip}" for port in ("http", "grpc", "admin")]
        ports = ["--http-port=8080", "--grpc-port=0", f"--admin-port={ADMIN_PORT}", "--control-socket="]
        command = [sys.executable, "-m", "pillion.server", "--config", str(file), *hosts, *ports]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            eventually(lambda: _status(f"http://{ip}:{ADMIN_PORT}/readyz") == 200)
            answer = httpx.post(f"http://{ip}:8080/iris", json={"inputs": [500, 2000]}, timeout=60, trust_env=False)
            assert (200, [0.5, 0.002]) == (answer.status_code, answer.json())
        finally:
            process.terminate()
            process.wait(30)
    assert "True" == condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured")["status"]


def test_a_graph_beside_a_model_is_another_model_of_its_pods(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    manifest = inference_service(sklearn={"storageUri": "s3://models/iris"})
    manifest["spec"]["graph"] = {"nodes": {"root": {"type": "sequence", "steps": [{"model": "iris"}]}}}
    api.create(namespace, manifest)

    pod_of(api, namespace)
    config = api.get("ConfigMap", namespace, "iris-predictor-runtime")
    assert config is not None
    models = yaml.safe_load(config["data"]["runtime.yaml"])["models"]
    assert ["iris", "graph"] == [model["name"] for model in models]


def test_a_graph_that_leads_back_to_itself_is_named_with_its_way(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    manifest = inference_service(**ALONE)
    nodes = {
        "root": {"type": "sequence", "steps": [{"node": "a"}]},
        "a": {"type": "sequence", "steps": [{"node": "b"}]},
        "b": {"type": "map", "steps": [{"node": "a"}]},
    }
    manifest["spec"]["graph"] = {"nodes": nodes}
    api.create(namespace, manifest)

    message = ready_reason(api, namespace, "InvalidSpec")["message"]
    assert "graph cannot run: nodes.b.steps[0].node: leads back to where it came from: a -> b -> a" in message
    assert api.get("Deployment", namespace, "iris-predictor") is None


def test_a_graph_on_a_container_that_is_not_the_runtime_is_not_honoured(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    manifest = inference_service(containers=[{"name": "kserve-container", "image": "registry.example/own:1"}])
    manifest["spec"]["graph"] = {"nodes": {"root": {"type": "sequence", "steps": [{"service": "a"}]}}}
    api.create(namespace, manifest)

    pod_of(api, namespace)

    def told() -> bool:
        found = condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured")
        return found.get("status") == "False" and "spec.graph on the container 'kserve-container'" in found["message"]

    eventually(told)


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code
    except httpx.TransportError:
        return 0
