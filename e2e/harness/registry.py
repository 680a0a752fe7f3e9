"""A real image registry in the cluster, under one name for those who push and for the node that pulls.

It is a port of the node's loopback by a Service, and the same port of this machine's loopback while it is forwarded.
Both Docker's and containerd's clients take registries of loopback without TLS.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from typing import TYPE_CHECKING

from e2e.cluster.node.layout import LOCAL_REGISTRY
from e2e.harness import manifests
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.harness.stage import Stage

_PORT = 5000
_CONFIGURATION = {
    "version": 0.1,
    "storage": {"filesystem": {"rootdirectory": "/data"}},
    "http": {"addr": f":{_PORT}"},
}


@contextlib.contextmanager
def running(stage: Stage) -> Iterator[str]:
    """Run the registry in the stage's namespace, reachable from here until the end of the block; its host and port."""
    target, namespace = stage.target, f"--namespace={stage.namespace}"
    node_port = int(LOCAL_REGISTRY.rpartition(":")[2])
    stage.apply(
        manifests.config_map("registry", text={"config.yml": json.dumps(_CONFIGURATION)}),
        manifests.pod(
            "registry",
            target.image("registry"),
            arguments=["serve", "/etc/distribution/config.yml"],
            config_maps={"registry": "/etc/distribution"},
            writable={"data": "/data"},
            ports=[_PORT],
        ),
        manifests.service("registry", _PORT, node_port=node_port),
    )
    target.kubectl("wait", "pod/registry", namespace, "--for=condition=Ready", "--timeout=60s")
    command = [str(target.kubectl.program), *target.kubectl.options, "port-forward", namespace]
    with subprocess.Popen(
        [*command, "service/registry", f"{node_port}:{_PORT}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as forwarding:
        try:
            eventually(_answers, within=30, what=f"the registry answers at {LOCAL_REGISTRY}")
            yield LOCAL_REGISTRY
        finally:
            forwarding.terminate()
            # Its name is the node's only one for a registry: nobody else can have it before it is gone.
            stage.delete("service", "registry", "--wait")


def _answers() -> bool:
    with contextlib.suppress(OSError):
        return bool(urllib.request.urlopen(f"http://{LOCAL_REGISTRY}/v2/", timeout=2).status == 200)
    return False
