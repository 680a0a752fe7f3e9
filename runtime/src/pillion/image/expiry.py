"""Which blobs of earlier builds are let go. Pure: the store looks and removes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MOST_BYTES", "Kept", "expendable"]

MOST_BYTES: Final = 5_000_000_000
"""What builds may keep on a machine; a base with its frameworks has half a gigabyte."""
_UNUSED_SECONDS: Final = 30 * 86_400.0
_IN_USE_SECONDS: Final = 3_600.0
"""A blob that was looked at so lately may belong to a build that runs now."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A blob on disk: its name, its size in bytes, and when it was last used, in seconds since 1970."""

    name: str
    size: int
    used: float


def expendable(kept: Iterable[Kept], *, now: float, most_bytes: int = MOST_BYTES) -> tuple[str, ...]:
    """Name what goes: what nobody used for thirty days, then the longest unused until the rest fits."""
    newest_first = sorted(kept, key=lambda blob: (-blob.used, blob.name))
    gone: list[str] = []
    total = 0
    for blob in newest_first:
        unused = now - blob.used
        total += blob.size
        if unused > _IN_USE_SECONDS and (unused > _UNUSED_SECONDS or total > most_bytes):
            gone.append(blob.name)
            total -= blob.size
    return tuple(gone)
