"""Work in threads that does not go on behind the back of whoever began it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

__all__ = ["to_the_end"]

_Result = TypeVar("_Result")


async def to_the_end(work: Callable[[], _Result], stop: threading.Event | None = None) -> _Result:
    """Work in a thread that a cancelled task waits for, so that nothing is written after it has cleared up.

    Args:
        work: what to do; it blocks.
        stop: set on cancellation, where the work looks at it.
    """
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if stop is not None:
            stop.set()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):  # once more: the first is raised below
                await asyncio.wait([task])
        raise
