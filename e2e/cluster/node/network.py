"""The link between the host and a node: a pair of virtual Ethernet devices."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node.failure import ClusterError
from e2e.cluster.node.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable

_INTERFACES = Path("/sys/class/net")


def connect(layout: Layout, init_pid: int) -> None:
    """Give the node's network namespace its loopback, its address and a route to the host."""
    inside = ("nsenter", f"--target={init_pid}", "--net", "--")
    _run("ip", "link", "add", layout.interface, "type", "veth", "peer", "name", "eth0", "netns", str(init_pid))
    # Tells the link from one of the same name that another user's node has made.
    _run("ip", "link", "set", layout.interface, "alias", str(layout.home))
    _run("ip", "address", "add", f"{layout.host_address}/24", "dev", layout.interface)
    _run("ip", "link", "set", layout.interface, "up")
    _run(*inside, "ip", "link", "set", "lo", "up")
    _run(*inside, "ip", "address", "add", f"{layout.node_address}/24", "dev", "eth0")
    _run(*inside, "ip", "link", "set", "eth0", "up")
    # Services' addresses are on no interface: without a default route the kernel would refuse to
    # send to them before the packet filter could rewrite the destination.
    _run(*inside, "ip", "route", "add", "default", "via", layout.host_address)
    # Opening it in the node's namespace writes that namespace's setting.
    _run(*inside, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")


def disconnect(layout: Layout) -> None:
    """Remove the link, where it is this node's; the other end goes with it."""
    if exists(layout):
        try:
            _run("ip", "link", "delete", layout.interface)
        except ClusterError:
            # The kernel removes it too, once the node's namespace has gone: it may have been faster.
            if exists(layout):
                raise


def exists(layout: Layout) -> bool:
    """Whether the host's end of the link is there, and is this node's."""
    try:
        return (_INTERFACES / layout.interface / "ifalias").read_text().strip() == str(layout.home)
    except OSError:  # it is not there, or goes while it is read
        return False


def taken_indices(interfaces: Iterable[str]) -> set[int]:
    """Return the indices of nodes, of whichever user, among names of interfaces."""
    prefix = Layout("any", 0).interface.removesuffix("0")
    found = (re.fullmatch(rf"{prefix}(\d+)", name) for name in interfaces)
    return {int(match[1]) for match in found if match is not None}


def interfaces() -> list[str]:
    """Return the names of this machine's network interfaces."""
    return [entry.name for entry in _INTERFACES.iterdir()]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
