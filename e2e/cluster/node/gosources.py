"""Files that Go modules bring beside their code: definitions of the Gateway API and of cert-manager.

Each is pinned by a `go.mod` and a `go.sum` of its own under `e2e/cluster/gosources/`, and lies in Go's module cache.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from e2e.cluster.node import gotools, paths
from e2e.cluster.node.failure import ClusterError

_SOURCE = paths.CLUSTER_SOURCE / "gosources"


def folder(name: str, module: str) -> Path:
    """Return the folder of `module` as `gosources/NAME` pins it, fetched and checked where it is not there yet."""
    return _fetched(_SOURCE / name, module)


def _fetched(pinned_by: Path, module: str) -> Path:
    if shutil.which("go") is None:
        raise ClusterError(f"{module} comes as a Go module and there is no `go` on PATH; install Go 1.26 or newer")
    done = subprocess.run(
        ["go", "mod", "download", "-json", module],
        cwd=pinned_by,
        env=gotools.go_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ClusterError(f"fetching {module} failed: {done.stdout.strip()} {done.stderr.strip()}"[-2000:])
    return Path(json.loads(done.stdout)["Dir"])


def gateway_api() -> list[Path]:
    """Return the files of the standard definitions of the Gateway API."""
    found = folder("gateway-api", "sigs.k8s.io/gateway-api") / "config" / "crd" / "standard"
    return sorted(found.glob("gateway.networking.k8s.io_*s.yaml"))


def cert_manager() -> list[Path]:
    """Return the files of cert-manager's definitions of Certificates and of who signs them."""
    found = folder("cert-manager", "github.com/cert-manager/cert-manager") / "deploy" / "crds"
    return sorted(found.glob("cert-manager.io_*s.yaml"))


def envoy_gateway() -> Path:
    """Return the folder of the very version of Envoy Gateway that is built: its chart and its own definitions."""
    group = gotools.GROUPS["envoy-gateway"]
    return _fetched(group.source, group.module)
