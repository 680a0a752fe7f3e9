"""What a node may have left on the machine: asked of the kernel, not of our own records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node import cgroups, network

if TYPE_CHECKING:
    from e2e.cluster.node.layout import Layout


def of(layout: Layout) -> list[str]:
    """Return a line for each process, mount, interface, control group or folder that is left."""
    found = [f"process {pid}: {command[:120]}" for pid, command in _processes(layout)]
    found += [f"mount {where}" for where in mounts_under(str(layout.home), Path("/proc/self/mounts").read_text())]
    if network.exists(layout):
        found.append(f"network interface {layout.interface}")
    found += [f"control group {path}" for path in cgroups.remaining(layout.cgroup)]
    if layout.home.exists():
        found.append(f"folder {layout.home}")
    return found


def mounts_under(home: str, mounts: str) -> list[str]:
    """Return the mount points at or under `home` in the text of `/proc/self/mounts`."""
    places = [line.split(" ")[1] for line in mounts.splitlines()]
    return [place for place in places if place == home or place.startswith(home + "/")]


def _processes(layout: Layout) -> list[tuple[int, str]]:
    # The node's programs name its folder on their command lines; pods' processes are in its group.
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            groups = (entry / "cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"{layout.home}/" in command or f"/{layout.cgroup}/" in groups:
            found.append((int(entry.name), command))
    return found
