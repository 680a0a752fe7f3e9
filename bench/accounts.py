"""Processor time of a program and all that it has started. Standard library only: peers' environments use it, too."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cpu", "family"]


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


def cpu(pids: list[int]) -> float:
    """User and system seconds of the processes."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
