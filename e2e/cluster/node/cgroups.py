"""The control group that all pods of a node are under, in either version of control groups."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
#: File of a group to its weight for the processor, eight times that of one group or, in version 1, of one process
#: outside: all pods together would otherwise get no more time than a single busy program of the host.
_WEIGHTS = {"cpu.shares": "8192", "cpu.weight": "800"}


def hierarchies(root: Path = _ROOT) -> list[Path]:
    """Return the mounted hierarchies: one in version 2, one for each controller in version 1."""
    if (root / "cgroup.controllers").exists():
        return [root]
    # Links such as `cpu -> cpu,cpuacct` would name a hierarchy twice.
    return [entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.is_symlink()]


def create(name: str) -> None:
    """Make the group in every hierarchy; kubelet wants its root to be there before it."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for file, weight in _WEIGHTS.items():
            if (group / file).exists():
                (group / file).write_text(weight)


def remove(name: str) -> None:
    """Remove the group and the groups under it; they must have no processes any more."""
    for group in remaining(name):
        group.rmdir()


def remaining(name: str) -> list[Path]:
    """Return the group and all groups under it that exist, the innermost first."""
    found: list[Path] = []
    for hierarchy in hierarchies():
        top = hierarchy / name
        if top.is_dir():
            found += sorted((entry for entry in top.rglob("*") if entry.is_dir()), reverse=True)
            found.append(top)
    return found
