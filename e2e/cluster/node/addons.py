"""What the cluster runs for its users: name service, metrics and volumes; and waiting until it is there."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

from e2e.cluster.node import environment, gotools, paths
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.cluster.node.layout import Layout
    from e2e.cluster.node.record import Process

_WITHIN_SECONDS = 120.0
_POLL_SECONDS = 0.2
_MANIFESTS = ("coredns.yaml", "metrics-server.yaml", "storage.yaml")
_READY = (
    "deployment.apps/coredns",
    "deployment.apps/metrics-server",
    "deployment.apps/hostpath-provisioner",
    "apiservice/v1beta1.metrics.k8s.io",
)


def kubectl(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the administrator of the node."""
    command = [str(gotools.program("kubectl")), f"--kubeconfig={layout.kubeconfig}", *arguments]
    return subprocess.run(command, env=environment.without_proxies(), capture_output=True, text=True, check=False)


def wait_for_api(layout: Layout, init: Process) -> None:
    """Return once the API server answers through the link, with all that it sets up at its start."""
    _wait(lambda: kubectl(layout, "get", "--raw=/readyz").returncode == 0, init, "kube-apiserver", "get --raw=/readyz")


def apply(layout: Layout) -> None:
    """Apply the manifests of `e2e/cluster/manifests/`."""
    folder = layout.home / "manifests"
    folder.mkdir(exist_ok=True)
    for name in _MANIFESTS:
        text = (paths.CLUSTER_SOURCE / "manifests" / name).read_text()
        (folder / name).write_text(text.replace("VOLUMES", str(layout.volumes)))
    done = kubectl(layout, "apply", f"--filename={folder}")
    if done.returncode != 0:
        raise ClusterError(f"applying the cluster's own manifests failed: {done.stderr.strip()}")


def wait_for_node(layout: Layout, init: Process) -> None:
    """Return once the node takes pods."""

    def ready() -> bool:
        done = kubectl(layout, "get", "node", layout.hostname, "--output=json")
        return done.returncode == 0 and condition(json.loads(done.stdout), "Ready")

    _wait(ready, init, "the node", f"describe node {layout.hostname}")


def wait_for_addons(layout: Layout, init: Process) -> None:
    """Return once cluster DNS answers, metrics are served and claims are given volumes."""

    def ready() -> bool:
        done = kubectl(layout, "get", *_READY, "--namespace=kube-system", "--output=json")
        objects = json.loads(done.stdout)["items"] if done.returncode == 0 else []
        return len(objects) == len(_READY) and all(condition(each, "Available") for each in objects)

    _wait(ready, init, "cluster DNS, metrics and volumes", "--namespace=kube-system describe pods")


def condition(document: dict[str, object], kind: str) -> bool:
    """Whether the condition of that type in the object's status is true."""
    status = document.get("status")
    conditions = status.get("conditions", []) if isinstance(status, dict) else []
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def _wait(ready: Callable[[], bool], init: Process, what: str, explanation: str) -> None:
    deadline = time.monotonic() + _WITHIN_SECONDS
    while not ready():
        if not init.alive:
            raise ClusterError(f"the node ended while waiting for {what}")
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} not ready within {_WITHIN_SECONDS:.0f} s; see `kubectl {explanation}`")
        time.sleep(_POLL_SECONDS)
