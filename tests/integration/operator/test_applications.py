"""Applications of a manifest, with the runtime itself in the place of the pod's container."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from pillion_operator.state.names import ADMIN_PORT
from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service
from tests.integration.operator.kubelet import address
from tests.integration.operator.test_conditions import container, play_kubelet, pod_of, ready_reason
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from pathlib import Path

SHOP: dict[str, Any] = {"name": "shop", "importPath": "shop:Shop", "routePrefix": "/shop", "args": {"word": "open"}}
PREDICTOR: dict[str, Any] = {
    "containers": [{"name": "runtime", "image": "registry.example/shop:1"}],
    "applications": [SHOP],
    "http": {"requestTimeoutSeconds": 20, "rootPath": "/ml"},
}
CODE = """
class Shop:
    def __init__(self, word):
        if word != "open":
            raise RuntimeError("the shop is shut")
        self.word = word

    async def __call__(self):
        return self.word
"""


def command(api: Api, namespace: str, folder: Path, ip: str) -> list[str]:
    """The runtime with the file of the cluster, and the code in `folder` in place of the image's."""
    pod_of(api, namespace)
    config = api.get("ConfigMap", namespace, "iris-predictor-runtime")
    assert config is not None
    document = yaml.safe_load(config["data"]["runtime.yaml"])
    assert "/app" == document["applications"][0]["code"]["folder"]
    document["applications"][0]["code"]["folder"] = str(folder)
    (folder / "shop.py").write_text(CODE)
    (folder / "runtime.yaml").write_text(yaml.safe_dump(document))
    hosts = [f"--{port}-host={ip}" for port in ("http", "grpc", "admin")]
    ports = ["--http-port=8080", "--grpc-port=0", f"--admin-port={ADMIN_PORT}", "--control-socket="]
    return [sys.executable, "-m", "pillion.server", "--config", str(folder / "runtime.yaml"), *hosts, *ports]


def test_an_application_is_served_as_the_manifest_says_and_the_service_is_ready(
    operator: OperatorProcess, api: Api, namespace: str, tmp_path: Path
) -> None:
    api.create(namespace, inference_service(**PREDICTOR))
    ip = address(101)

    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command(api, namespace, tmp_path, ip), stdout=log, stderr=log)
    try:
        eventually(lambda: _status(f"http://{ip}:{ADMIN_PORT}/readyz") == 200)
        answer = httpx.get(f"http://{ip}:8080/ml/shop", timeout=60, trust_env=False)
        assert (200, "open") == (answer.status_code, answer.text)
        since = pod_of(api, namespace)["metadata"]["creationTimestamp"]
        running = container("runtime", {"running": {"startedAt": since}}) | {"ready": True}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [ready]}
        play_kubelet(api, namespace, {**status, "containerStatuses": [running]})
        assert "True" == ready_reason(api, namespace, "Loaded")["status"]
    finally:
        process.terminate()
        process.wait(30)
    assert "True" == condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured")["status"]


def test_an_application_that_fails_at_its_start_is_named_with_its_reason(
    operator: OperatorProcess, api: Api, namespace: str, tmp_path: Path
) -> None:
    api.create(namespace, inference_service(**{**PREDICTOR, "applications": [{**SHOP, "args": {"word": "shut"}}]}))

    ended = subprocess.run(
        command(api, namespace, tmp_path, address(102)),
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        timeout=WITHIN,
        check=False,
    )
    # As the kubelet does it for terminationMessagePolicy FallbackToLogsOnError: the end of the log, 2 KiB at most.
    last = {"exitCode": ended.returncode, "message": ended.stdout.decode()[-2048:], "reason": "Error"}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    failed = container("runtime", waiting, {"terminated": last})
    play_kubelet(api, namespace, {"phase": "Running", "containerStatuses": [failed]})

    message = ready_reason(api, namespace, "CrashLoopBackOff")["message"]
    assert "application shop cannot be built" in message
    assert "the shop is shut" in message


@pytest.mark.parametrize("beside", [{}, {"sklearn": {"storageUri": "s3://models/iris"}}])
def test_applications_without_an_image_of_theirs_are_refused_with_the_remedy(
    operator: OperatorProcess, api: Api, namespace: str, beside: dict[str, Any]
) -> None:
    api.create(namespace, inference_service(applications=[SHOP], **beside))

    assert "pillion build FOLDER" in ready_reason(api, namespace, "InvalidSpec")["message"]
    assert api.get("Deployment", namespace, "iris-predictor") is None


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code
    except httpx.TransportError:
        return 0
