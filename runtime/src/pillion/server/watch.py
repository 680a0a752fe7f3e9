"""Noticing that files changed, by their identity.

The kubelet swaps the ``..data`` symlink of a mounted ConfigMap or Secret, an editor renames a new file over the old
one: either way ``stat`` through the path shows another inode or time. Looking every half second costs some
microseconds, needs no library, and works on every volume, where inotify does not see changes made on other nodes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

__all__ = ["Identity", "changes", "identity_of"]

Identity = tuple[tuple[int, int, int, int] | None, ...]
"""Device, inode, change time (ns) and size of each file; None where there is none."""


def identity_of(paths: Iterable[str]) -> Identity:
    """What the paths lead to now."""
    found: list[tuple[int, int, int, int] | None] = []
    for path in paths:
        try:
            stat = Path(path).stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


async def changes(paths: tuple[str, ...], *, since: Identity, interval: float = 0.5) -> AsyncIterator[None]:
    """Yield each time one of the paths leads to something else than before; ``since`` is the state already known."""
    known = since
    while True:
        await asyncio.sleep(interval)
        now = identity_of(paths)
        if now != known:
            known = now
            yield
