"""A real activator in front of a Deployment without pods; tests play the node and the controller of EndpointSlices."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from tests.integration.operator.harness import PATHS, Api, eventually
from tests.waiting import WITHIN, until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATHS["EndpointSlice"] = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
_OWNER = {"serving.pillion.dev/inferenceservice": "iris"}
#: Tests of several processes may share the machine: each begins somewhere else.
_ports = itertools.count(20_000 + os.getpid() * 37 % 9_000)


def own_address() -> str:
    """An address of this machine that is not loopback, which EndpointSlices refuse; no packet leaves for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        try:
            found.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback, and EndpointSlices refuse that")
        address: str = found.getsockname()[0]
        return address


class ActivatorProcess:
    """`pillion-activator` as a child process."""

    def __init__(self, kubeconfig: Path, log: Path, **settings: object) -> None:
        self._log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PILLION_")}
        settings = {"http_port": 0, "http_host": "127.0.0.1", "log_level": "debug", **settings}
        environment |= {f"PILLION_ACTIVATOR_{name.upper()}": str(value) for name, value in settings.items()}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pillion_operator.activator", "--kubeconfig", str(kubeconfig)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        return self._log.read_text()

    @property
    def admin(self) -> str:
        def look() -> str:
            assert self._process.poll() is None, self.log()
            _, _, rest = self.log().partition("probes answer on port ")
            return rest.partition('"')[0]

        return f"http://127.0.0.1:{eventually(look)}"

    def ask(self, path: str) -> httpx.Response:
        return httpx.get(self.admin + path, trust_env=False, timeout=60)

    def metric(self, name: str, labels: str = "") -> float:
        sample = f"pillion_activator_{name}{labels} "
        found = [line for line in self.ask("/metrics").text.splitlines() if line.startswith(sample)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self, within: float = WITHIN) -> int:
        return self._process.wait(within)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def activating(kubeconfig: Path, log: Path, **settings: object) -> Iterator[ActivatorProcess]:
    """An activator that knows the EndpointSlices, ended with the block."""
    process = ActivatorProcess(kubeconfig, log, **settings)
    try:
        eventually(lambda: process.ask("/readyz").status_code == 200)
        yield process
    finally:
        process.stop()


def announce(api: Api, namespace: str, activator: ActivatorProcess) -> str:
    """Say where that activator is, as the controller does for its Service; the Service's name."""
    _, _, port = activator.admin.rpartition(":")
    name = f"activator-{port}"
    labels = {"kubernetes.io/service-name": name}
    api.create(
        namespace,
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "http-metrics", "port": int(port), "protocol": "TCP"}],
            "endpoints": [{"addresses": [own_address()], "conditions": {"ready": True}}],
        },
    )
    return name


class Asleep:
    """`iris-predictor` without pods: its Deployment, and the EndpointSlice that leads to the activator."""

    def __init__(self, api: Api, namespace: str, *ports: str) -> None:
        self._api = api
        self._namespace = namespace
        self.address = own_address()
        self.ports = {name: next(_ports) for name in ports}
        labels = {"app": "iris"}
        container = {"name": "runtime", "image": "localhost/none"}
        api.create(
            namespace,
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "iris-predictor"},
                "spec": {
                    "replicas": 0,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
                },
            },
        )
        self._slice("iris-predictor-activator", "pillion", self.ports, [])

    @property
    def replicas(self) -> int:
        found = self._api.get("Deployment", self._namespace, "iris-predictor")
        assert found is not None
        return found["spec"].get("replicas", 0)  # type: ignore[no-any-return]  # JSON

    def known_to(self, activator: ActivatorProcess) -> Asleep:
        """Return once the activator listens for it."""
        eventually(lambda: {str(port) for port in self.ports.values()} <= set(activator.ask("/routes").json()))
        return self

    def woken(self) -> None:
        eventually(lambda: self.replicas == 1)

    def ready(self, **ports: int) -> None:
        """Say, as the controller does once a pod is Ready, that it listens on these ports."""
        self._slice("iris-predictor-x7k2p", "endpointslice-controller.k8s.io", ports, [self.address])

    def _slice(self, name: str, manager: str, ports: dict[str, int], addresses: list[str]) -> None:
        labels = {"endpointslice.kubernetes.io/managed-by": manager, "kubernetes.io/service-name": "iris-predictor"}
        self._api.create(
            self._namespace,
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": labels | _OWNER},
                "addressType": "IPv4",
                "ports": [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports.items()],
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
            },
        )


@contextlib.contextmanager
def serving(application: Any, **options: Any) -> Iterator[int]:
    """Uvicorn on a free port of every address; its port."""
    config = uvicorn.Config(application, host="0.0.0.0", port=0, log_level="warning", lifespan="off", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until_now(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
