"""How much CPU this process may use: the quota of its control group, its affinity, the machine's cores.

Containers see all cores of their node; libraries that start one thread per core then fight over a small quota and are
throttled. The parsers are pure and take the files' text, for cgroup v2 (``cpu.max``) and v1 (``cpu.cfs_quota_us`` and
``cpu.cfs_period_us``), as the kernel documents them in Documentation/admin-guide/cgroup-v2.rst and
Documentation/scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

__all__ = ["available_cpus", "group_paths", "parse_v1", "parse_v2", "quota", "whole_cpus"]

_ROOT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


def parse_v2(cpu_max: str) -> float | None:
    """CPUs granted by the text of ``cpu.max`` ("max 100000", "150000 100000"); None for no limit or unreadable text."""
    fields = cpu_max.split()
    if not fields or fields[0] == "max":
        return None
    return _ratio(fields[0], fields[1] if len(fields) > 1 else "100000")


def parse_v1(quota_us: str, period_us: str) -> float | None:
    """CPUs granted by ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``; None for no limit (-1) or unreadable text."""
    return _ratio(quota_us, period_us)


def _ratio(quota_us: str, period_us: str) -> float | None:
    try:
        granted, period = int(quota_us), int(period_us)
    except ValueError:
        return None
    return granted / period if granted > 0 and period > 0 else None


def group_paths(proc_self_cgroup: str) -> dict[str, str]:
    """The process's group by controller, from the text of ``/proc/self/cgroup``; "" is the unified (v2) hierarchy."""
    paths: dict[str, str] = {}
    for line in proc_self_cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, separator, path = rest.partition(":")
        if separator:
            for controller in controllers.split(","):
                paths[controller] = path
    return paths


def whole_cpus(granted: float | None, usable: int) -> int:
    """Threads worth starting for a quota of ``granted`` CPUs on ``usable`` cores: rounded up, at least one."""
    return max(1, usable if granted is None else min(usable, math.ceil(granted)))


def quota(root: Path = _ROOT, self_cgroup: Path = _SELF) -> float | None:
    """The tightest CPU quota on the way from this process's control group to the root; None where there is none."""
    paths = group_paths(_read(self_cgroup))
    found: list[float] = []
    for directory in _lineage(root, paths.get("", "/")):
        granted = parse_v2(_read(directory / "cpu.max"))
        if granted is not None:
            found.append(granted)
    for mount in (root / "cpu", root / "cpu,cpuacct"):
        for directory in _lineage(mount, paths.get("cpu", "/")):
            granted = parse_v1(_read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us"))
            if granted is not None:
                found.append(granted)
    return min(found, default=None)


def available_cpus(root: Path = _ROOT, self_cgroup: Path = _SELF) -> int:
    """Threads this process can run at once: quota and affinity, whichever is tighter."""
    return whole_cpus(quota(root, self_cgroup), len(os.sched_getaffinity(0)))


def _lineage(root: Path, group: str) -> list[Path]:
    """The group's directory and its parents up to ``root``; a path outside the mount (a host's path) is just absent."""
    relative = PurePosixPath(group.lstrip("/"))
    if ".." in relative.parts:
        return [root]
    return [root / relative, *(root / parent for parent in relative.parents)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
