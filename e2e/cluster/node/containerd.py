"""Loading images into the node's containerd, from outside, over its socket."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import TYPE_CHECKING

from e2e.cluster.node import prerequisites
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.node.layout import Layout
    from e2e.cluster.node.record import Process

_POLL_SECONDS = 0.05
#: kubelet asks for images in this namespace of containerd.
_NAMESPACE = "k8s.io"


def wait(layout: Layout, init: Process, within_seconds: float) -> None:
    """Return once containerd accepts connections; raises ClusterError where it does not."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline and init.alive:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(layout.containerd_socket))
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise ClusterError("containerd did not start")


def load(layout: Layout, archive: Path) -> None:
    """Import an OCI archive; content that is there already is not written again."""
    snapshotter = prerequisites.snapshotter(layout.home)
    _ctr(layout, "images", "import", f"--snapshotter={snapshotter}", str(archive))


def tag(layout: Layout, existing: str, new: str) -> None:
    """Give an image of the node a second name, such as one for a rolling update."""
    _ctr(layout, "images", "tag", "--force", existing, new)


def names(layout: Layout) -> list[str]:
    """Return the names of the node's images, without the names by digest."""
    listed = _ctr(layout, "images", "list", "--quiet").split()
    return sorted(name for name in listed if "@" not in name and not name.startswith("sha256:"))


def _ctr(layout: Layout, *arguments: str) -> str:
    command = ["ctr", f"--address={layout.containerd_socket}", f"--namespace={_NAMESPACE}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"`ctr {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout
