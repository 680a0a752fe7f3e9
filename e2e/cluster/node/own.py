"""The cluster made of a node of our own, without Docker."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from e2e.cluster.node import addons, boot, containerd, images, paths, record
from e2e.cluster.node.failure import ClusterError
from e2e.cluster.node.layout import CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS, Layout, validate_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class OwnNode:
    """A node in namespaces of this machine; see `boot` for how it comes and goes."""

    def __init__(self, name: str) -> None:
        """Refer to the node called `name`, which may not be there yet."""
        self.name = validate_name(name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return Layout(self.name, 0).kubeconfig

    @property
    def context(self) -> str:
        """The kubeconfig's only context."""
        return Layout(self.name, 0).context

    @property
    def running(self) -> bool:
        """Whether the node's first process lives, and all else with it."""
        node = record.NodeRecord.read(self.name)
        return node is not None and node.init.alive

    def up(self, *, keep_failed: bool = False) -> None:
        """Start the node."""
        boot.up(self.name, keep_failed=keep_failed)

    def down(self) -> None:
        """End the node."""
        boot.down(self.name)

    def status(self) -> str:
        """Return the node's address, age, programs that have ended, images and pods."""
        node = record.NodeRecord.read(self.name)
        if node is None:
            return f"there is no node {self.name}; start it with `make cluster-up`"
        if not node.init.alive:
            return f"node {self.name} has ended; clean up with `make cluster-down`; its logs: {node.layout.logs}"
        layout = node.layout
        minutes = (time.time() - layout.record.stat().st_mtime) / 60
        parts = [
            f"node {layout.name} at {layout.server}, up for {minutes:.0f} min",
            f"export KUBECONFIG={layout.kubeconfig}",
            f"logs: {layout.logs}",
            *(layout.logs / "init.log").read_text().splitlines(),
            f"images: {', '.join(containerd.names(layout))}",
            addons.kubectl(layout, "get", "nodes", "--output=wide").stdout.rstrip(),
            addons.kubectl(layout, "get", "pods", "--all-namespaces").stdout.rstrip(),
        ]
        return "\n".join(parts)

    def load(self, image: str, reference: str | None = None) -> str:
        """Build an image of the checkout and load it into the node's containerd."""
        layout = self._running_layout()
        own = images.image(image).reference
        archive = images.build(image)
        # What each name stands for on the node, by the archive, whose name changes with its content.
        record_of_names = layout.home / "loaded.json"
        loaded = json.loads(record_of_names.read_text()) if record_of_names.exists() else {}
        if loaded.get(own) != archive.name:
            containerd.load(layout, archive)
            loaded[own] = archive.name
        wanted = reference or own
        if loaded.get(wanted) != archive.name:
            containerd.tag(layout, own, wanted)
            loaded[wanted] = archive.name
        record_of_names.write_text(json.dumps(loaded))
        return wanted

    def enter(self, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Return the command that runs `argv` in the node's network, with cluster DNS.

        The files are the host's, except that `/etc/resolv.conf` names the cluster's name server.
        """
        node = record.NodeRecord.read(self.name)
        layout = self._running_layout()
        assert node is not None  # it runs
        resolv = layout.home / "resolv.conf"
        search = " ".join(f"{part}{CLUSTER_DOMAIN}" for part in ("default.svc.", "svc.", ""))
        resolv.write_text(f"search {search}\nnameserver {DNS_SERVICE_ADDRESS}\noptions ndots:5\n")
        command = [
            "nsenter", f"--target={node.init.pid}", "--net", "--",
            "unshare", "--mount", "--propagation=private", "--",
            sys.executable, "-I", str(paths.CLUSTER_SOURCE / "node" / "with_resolver.py"), str(resolv), *argv,
        ]  # fmt: skip  # one program a line
        return command, {"KUBECONFIG": str(layout.kubeconfig)}

    def _running_layout(self) -> Layout:
        node = record.NodeRecord.read(self.name)
        if node is None or not node.init.alive:
            raise ClusterError(f"node {self.name} does not run; start it with `make cluster-up`")
        return node.layout
