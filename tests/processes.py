"""What the kernel says of processes, which may end while it is asked."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["alive", "children"]

_GONE = (FileNotFoundError, ProcessLookupError)
"""The second where it ends between the opening of a file and its reading."""


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except _GONE:
        return False


def children(pid: int) -> list[int]:
    """The processes that any thread of it has started and that nobody has waited for yet."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(*_GONE):
            found += [int(child) for child in thread.read_text().split()]
    return found
