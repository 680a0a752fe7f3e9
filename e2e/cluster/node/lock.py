"""A lock between processes of this machine, held on a file."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from e2e.cluster.node import progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def exclusive(path: Path, holder: str) -> Iterator[None]:
    """Hold the lock at `path`, saying that one waits for `holder` while it is taken.

    The kernel releases the lock when its process ends, however that happens.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"waiting for {holder} to finish ({path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
