"""Which models stay in memory where not all fit: the least recently used go first, and none that is in use.

How much a model takes is measured where it can be (what the process grew by while nothing else was loaded) and is never
taken for less than its files, which is what it is estimated at before its first load.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Resident", "artifact_bytes", "resident_bytes", "to_evict"]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Resident(NamedTuple):
    """A model that is in memory."""

    key: tuple[str, str]
    size: int
    last_used: float
    """Monotonic; of the load, where no request came yet."""
    evictable: bool
    """It may be loaded again by a request, and no request holds it now."""


def to_evict(residents: Sequence[Resident], needed: int, budget: int) -> list[tuple[str, str]] | None:
    """Whom to unload so that ``needed`` bytes more are within ``budget``; None where that cannot be.

    A model that is larger than the whole budget is let in alone: else it could never be served, and only its owner can
    tell whether the machine bears it.
    """
    total = sum(resident.size for resident in residents)
    chosen: list[tuple[str, str]] = []
    for resident in sorted((r for r in residents if r.evictable), key=lambda r: r.last_used):
        if total + needed <= budget:
            break
        chosen.append(resident.key)
        total -= resident.size
    return chosen if total + needed <= budget or total == 0 else None


def artifact_bytes(path: Path) -> int:
    """Bytes of a file, or of every file below a folder; 0 where there is none. Blocking."""
    if not path.is_dir():
        return path.stat().st_size if path.is_file() else 0
    return sum((path.__class__(folder) / name).stat().st_size for folder, _, names in os.walk(path) for name in names)


def resident_bytes() -> int:
    """Physical memory of this process."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - read at each load; no path to speak of
        return int(file.read().split()[1]) * _PAGE
