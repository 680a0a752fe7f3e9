"""The part of a kubelet that tests of models play: a pod with a real runtime, and the ConfigMap that it sees."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx

from tests.integration.operator.harness import Api, Object, eventually
from tests.integration.operator.kubelet import pods as pods_of
from tests.integration.server.process import environment, iris_request
from tests.waiting import WITHIN

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "iris-predictor-models"
HASH = "serving.pillion.dev/models-hash"


def declared(api: Api, namespace: str, config: str = CONFIG) -> list[Object]:
    """The models that the pods are to see."""
    found = api.get("ConfigMap", namespace, config)
    models: list[Object] = [] if found is None else json.loads(found["data"]["models.json"])["models"]
    return models


class Node:
    """A kubelet of one pod of `iris`, as far as its runtime and the ConfigMap of its models go.

    Args:
        ip: an address of this machine for the pod alone: the admin port is the same in every pod.
        own: the file of the model that its runtime.yaml has; None where it has none.
        number: which of the pods, in the order of their names.
        placed: whether it follows the placement, on ports that are the same in all of them, and is not Ready by itself.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        folder: Path,
        ip: str,
        *,
        own: Path | None = None,
        number: int = 0,
        placed: bool = False,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._ip = ip
        self.folder = folder / "mounted"
        self.folder.mkdir(parents=True)
        models = [] if own is None else [{"name": "iris", "path": str(own)}]
        (folder / "runtime.yaml").write_text(json.dumps({"apiVersion": "runtime.pillion.dev/v1", "models": models}))
        self.mount()
        self.log = folder / "runtime.log"
        command = [sys.executable, "-m", "pillion.server", "--config", str(folder / "runtime.yaml")]
        http, grpc = (18080, 18081) if placed else (0, 0)
        command += ["--http-host", ip, "--http-port", str(http), "--grpc-host", ip, "--grpc-port", str(grpc)]
        command += ["--admin-host", ip, "--control-socket", str(folder / "control.sock")]
        env = environment(
            PILLION_MODELS__DECLARED=str(self.folder / "models.json"),
            PILLION_MODELS__DECLARED_FOLDER=str(folder / "files"),
            PILLION_STORAGE_ALLOW_PRIVATE_HOSTS="true",
            PILLION_STORAGE_ATTEMPTS="1",
        )
        there = eventually(lambda: sorted(pods_of(api, namespace), key=_name)[number:])
        self.pod = _name(there[0])
        env |= {"PILLION_POD_NAME": self.pod} if placed else {}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        begun = b"listening with" if placed else b'"ready"'
        eventually(lambda: begun in self.log.read_bytes())
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": str(not placed), "lastTransitionTime": "2026-01-02T03:04:05Z"}],
        }
        api.patch("Pod", namespace, self.pod, {"status": status}, subresource="status", manager="kubelet")

    @property
    def port(self) -> int:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        port: int = next(line for line in lines if "ports" in line)["ports"]["http"]
        return port

    def annotation(self) -> str:
        """The digest by which the kubelet is told to look."""
        pod = self._api.get("Pod", self._namespace, self.pod) or {}
        said: str = pod["metadata"].get("annotations", {}).get(HASH, "")
        return said

    def mount(self) -> None:
        """Bring the ConfigMap's file to the pod."""
        found = self._api.get("ConfigMap", self._namespace, CONFIG)
        if found is None:
            (self.folder / "models.json").unlink(missing_ok=True)
            return
        for name, text in found["data"].items():
            fresh = self.folder / "fresh"
            fresh.write_text(text)
            fresh.rename(self.folder / name)

    def predict(self, name: str) -> int:
        """The status of a prediction."""
        url = f"http://{self._ip}:{self.port}/v2/models/{name}/infer"
        return httpx.post(url, json=iris_request(), timeout=WITHIN, trust_env=False).status_code

    def end(self) -> None:
        """End the runtime."""
        self.process.kill()
        self.process.wait()


def _name(pod: Object) -> str:
    name: str = pod["metadata"]["name"]
    return name
