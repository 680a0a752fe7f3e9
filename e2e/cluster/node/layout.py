"""Where the parts of one node are: files, addresses, names. Pure values; nothing is made here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.cluster.node import paths
from e2e.cluster.node.failure import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
POD_NETWORK = "10.244.0.0/24"
CLUSTER_DOMAIN = "cluster.local"
#: Where the node pulls images that did not come from archives: a port of its own loopback that a Service may have.
LOCAL_REGISTRY = "localhost:30500"

#: Nodes of this machine differ in the third byte of this network, which is 0 for the first.
_NODE_NETWORKS = "10.231"
_MAX_NODES = 200


@dataclass(frozen=True, slots=True)
class Layout:
    """The files, the addresses and the names of the node called `name`."""

    name: str
    #: Tells nodes of one machine apart where a name would be too long or an address is needed.
    index: int

    @property
    def home(self) -> Path:
        """The folder of everything that the node writes; it is removed with the node."""
        return paths.node_home(self.name)

    @property
    def logs(self) -> Path:
        """The folder with one log a program."""
        return self.home / "log"

    @property
    def pod_logs(self) -> Path:
        """The folder with the output of containers, by pod."""
        return self.home / "pod-logs"

    @property
    def volumes(self) -> Path:
        """The folder with one folder a persistent volume."""
        return self.home / "volumes"

    @property
    def pki(self) -> Path:
        """The folder of certificates and keys."""
        return self.home / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.home / "admin.kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """Where the node's own containerd listens."""
        return self.home / "containerd.sock"

    @property
    def record(self) -> Path:
        """The file that says which processes and which index belong to the node."""
        return self.home / "node.json"

    @property
    def hostname(self) -> str:
        """The name under which the node registers."""
        return f"{self.name}-control-plane"

    @property
    def context(self) -> str:
        """The name of the kubeconfig's context; scenarios refuse one that they did not make."""
        return f"pillion-{self.name}"

    @property
    def cgroup(self) -> str:
        """The name of the control group that all pods of the node are under."""
        return f"pillion-{self.name}"

    @property
    def interface(self) -> str:
        """The host's end of the virtual link to the node; Linux allows 15 characters."""
        return f"pillion{self.index}"

    @property
    def network(self) -> str:
        """The network of the link between host and node."""
        return f"{_NODE_NETWORKS}.{self.index}.0/24"

    @property
    def host_address(self) -> str:
        """The host's address on the link, without a prefix length."""
        return f"{_NODE_NETWORKS}.{self.index}.1"

    @property
    def node_address(self) -> str:
        """The node's address on the link, without a prefix length."""
        return f"{_NODE_NETWORKS}.{self.index}.2"

    @property
    def server(self) -> str:
        """The address of the Kubernetes API."""
        return f"https://{self.node_address}:6443"


def validate_name(name: str) -> str:
    """Return `name` where it can be part of host names, paths and control groups.

    Raises ClusterError otherwise. 30 characters keep the longest socket path below 108 bytes.
    """
    if re.fullmatch(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?", name) is None:
        raise ClusterError(
            f"{name!r} cannot name a node: use at most 30 lower-case letters, digits and hyphens, "
            "beginning with a letter"
        )
    return name


def free_index(taken: Iterable[int]) -> int:
    """Return the lowest index that no node has; raises ClusterError where all are taken."""
    used = set(taken)
    for index in range(_MAX_NODES):
        if index not in used:
            return index
    raise ClusterError(f"{_MAX_NODES} nodes exist; end one with `cluster.py down --name NAME`")
