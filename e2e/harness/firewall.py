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
#: How kube-router calls what it makes; kube-proxy has other names.
_CHAINS = ("KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-")
_SETS = ("KUBE-SRC-", "KUBE-DST-")


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
            _clean(node)


def removal(saved: str) -> str:
    """Return what undoes the firewall's part of a table that `iptables-save` printed, for `iptables-restore`.

    kube-router has a command for that, which ends before it has done so where IPVS is not there.
    """
    lines = saved.splitlines()
    chains = [line[1:].split()[0] for line in lines if line.startswith(":") and line[1:].startswith(_CHAINS)]
    callers = [line for line in lines if line.startswith("-A ") and not line[3:].startswith(_CHAINS)]
    callers = [line for line in callers if any(f"-j {chain}" in line for chain in chains)]
    undone = [line.replace("-A ", "-D ", 1) for line in callers]
    return "\n".join(["*filter", *undone, *(f"-F {c}" for c in chains), *(f"-X {c}" for c in chains), "COMMIT", ""])


def _clean(node: OwnNode) -> None:
    def run(*command: str, stdin: str | None = None) -> str:
        entered, _ = node.enter(command)
        done = subprocess.run(entered, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    run("iptables-restore", "--noflush", stdin=removal(run("iptables-save", "--table=filter")))
    for name in run("ipset", "list", "-name").split():
        if name.startswith(_SETS):
            run("ipset", "destroy", name)
    left = [line for line in run("iptables-save").splitlines() if any(chain in line for chain in _CHAINS)]
    assert not left, f"left of kube-router: {left}"
