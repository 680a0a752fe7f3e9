"""NetworkPolicies that are enforced: by kube-router's firewall on the node of our own, whose bridge enforces none.

Only the firewall of kube-router runs, as a program in the node's network; addresses and Services stay the bridge's and
kube-proxy's. kind's own network enforces policies, and a foreign cluster is expected to.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from e2e.cluster.node import backend, gotools, prerequisites
from e2e.cluster.node.layout import SERVICE_NETWORK
from e2e.cluster.node.own import OwnNode
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.harness.target import Target

_HEALTH_PORT = 20244


@contextlib.contextmanager
def enforced(target: Target, log: Path) -> Iterator[None]:
    """Let the cluster's policies have their effect until the end of the block."""
    node = backend.choose(os.environ.get("E2E_CLUSTER", "e2e"))
    if target.kubeconfig != node.kubeconfig or not isinstance(node, OwnNode):
        yield
        return
    prerequisites.require({"ipset": "ipset", "iptables": "iptables"}, "enforce network policies")
    program = str(gotools.ensure(["kube-router"])["kube-router"])
    hostname = target.kubectl("get", "nodes", "--output=jsonpath={.items[0].metadata.name}")
    command, variables = node.enter(
        [
            program, "--run-router=false", "--run-service-proxy=false", "--run-firewall=true",
            f"--kubeconfig={target.kubeconfig}", f"--hostname-override={hostname}", "--metrics-port=0",
            f"--service-cluster-ip-range={SERVICE_NETWORK}", f"--health-port={_HEALTH_PORT}",
        ]
    )  # fmt: skip  # settings by what they are about
    environment = {**os.environ, **variables}
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as running:
        try:
            eventually(
                lambda: "Starting network policy controller full sync goroutine" in log.read_text(),
                within=30,
                what="kube-router's firewall has started",
            )
            yield
            assert running.poll() is None, f"kube-router ended meanwhile: {log.read_text()[-2000:]}"
        finally:
            running.terminate()
            running.wait(20)
            cleaning, _ = node.enter([program, "--cleanup-config", f"--kubeconfig={target.kubeconfig}"])
            subprocess.run(cleaning, env=environment, stdout=output, stderr=output, check=False, timeout=60)
