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

from tests.integration.operator.harness import PATHS, Api, eventually, inference_service
from tests.waiting import WITHIN, until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATHS["EndpointSlice"] = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
_OWNER = {"serving.pillion.dev/inferenceservice": "iris"}
#: What slices call the activator, as its own Service.
SERVICE = "default/pillion-activator"
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
        settings = {"service": SERVICE, "addresses": own_address(), **settings}
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


def announce(api: Api, service: str, activator: ActivatorProcess, *addresses: str) -> None:
    """Say where the replicas of the activator are, as the controller does for its Service; by default here."""
    _, _, port = activator.admin.rpartition(":")
    namespace, _, name = service.partition("/")
    labels = {"kubernetes.io/service-name": name}
    found = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http-metrics", "port": int(port), "protocol": "TCP"}],
        "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses or (own_address(),)],
    }
    if api.get("EndpointSlice", namespace, name) is None:
        api.create(namespace, found)
    else:
        path = f"{PATHS['EndpointSlice'].format(namespace)}/{name}"
        api.send("PATCH", path, found, "application/merge-patch+json").raise_for_status()


class Asleep:
    """`iris` without pods: its Deployment, and the EndpointSlice that has the activator hold its connections."""

    def __init__(self, api: Api, namespace: str, *ports: str) -> None:
        self._api = api
        self.namespace = namespace
        self.address = own_address()
        self.ports = {name: next(_ports) for name in ports}
        # Stopped, so that no operator of a later module looks after it.
        self._uid = api.create(namespace, inference_service(annotations={"serving.pillion.dev/stop": "true"}))[
            "metadata"
        ]["uid"]
        labels = {"app": "iris"} | _OWNER
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
        self.map(self.ports)

    @property
    def replicas(self) -> int:
        found = self._api.get("Deployment", self.namespace, "iris-predictor")
        assert found is not None
        return found["spec"].get("replicas", 0)  # type: ignore[no-any-return]  # JSON

    def known_to(self, activator: ActivatorProcess) -> Asleep:
        """Return once the activator listens for it."""
        eventually(lambda: {str(port) for port in self.ports.values()} <= set(activator.ask("/routes").json()))
        return self

    def woken(self) -> None:
        eventually(lambda: self.replicas == 1)

    def map(self, ports: dict[str, int], name: str = "iris-predictor-activator", uid: str | None = None) -> None:
        """Say, as the operator does, for what which ports of the activator stand."""
        owner = {"apiVersion": "serving.pillion.dev/v1beta1", "kind": "InferenceService", "name": "iris"}
        said = {"serving.pillion.dev/activator": SERVICE, "serving.pillion.dev/activator-holds": "true"}
        owners = [owner | {"uid": uid or self._uid, "controller": True}]
        self._slice(name, "pillion", ports, [], annotations=said, ownerReferences=owners)

    def hold(self, *, held: bool) -> None:
        """Say, as the operator does, whether the activator is to hold its connections."""
        path = f"{PATHS['EndpointSlice'].format(self.namespace)}/iris-predictor-activator"
        annotations = {"serving.pillion.dev/activator-holds": str(held).lower()}
        patch = {"metadata": {"annotations": annotations}}
        self._api.send("PATCH", path, patch, "application/merge-patch+json").raise_for_status()

    def ready(self, **ports: int) -> None:
        """Say, as the controller does once a pod is Ready, that it listens on these ports."""
        self._slice("iris-predictor-x7k2p", "endpointslice-controller.k8s.io", ports, [self.address])

    def _slice(self, name: str, manager: str, ports: dict[str, int], addresses: list[str], **metadata: object) -> None:
        labels = {"endpointslice.kubernetes.io/managed-by": manager, "kubernetes.io/service-name": "iris-predictor"}
        self._api.create(
            self.namespace,
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": labels | _OWNER, **metadata},
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
