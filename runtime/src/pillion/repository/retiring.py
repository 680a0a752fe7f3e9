"""Models that are being let go: they take no more requests, and are closed when the last of those has ended."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.repository.served import Served

__all__ = ["Retiring"]

_log: Final = logging.getLogger(__name__)


class Retiring:
    """See the module.

    Args:
        closing: told of a model that is about to be closed: requests that still hold it are to be ended.
    """

    def __init__(self, closing: Callable[[Served], None]) -> None:
        self._closing = closing
        self._tasks: dict[Served, asyncio.Task[None]] = {}

    def let_go(self, served: Served, grace: float) -> asyncio.Task[None]:
        """Close a model when its requests have ended, or after ``grace`` seconds; the task ends with that."""
        task = asyncio.get_running_loop().create_task(self._close_when_idle(served, grace))
        self._tasks[served] = task
        task.add_done_callback(lambda _task: self._tasks.pop(served, None))
        return task

    async def gone(self, *, served: Served | None = None, name: str | None = None) -> None:
        """Wait until one model, those of a name, or all are closed."""
        if served is None and name is None:
            while self._tasks:
                await asyncio.wait(set(self._tasks.values()))
            return
        # Its own only: where models come and go by requests, there is always some other that is being let go.
        going = [task for one, task in self._tasks.items() if one is served or one.desired.name == name]
        if going:
            await asyncio.wait(going)

    async def _close_when_idle(self, served: Served, grace: float) -> None:
        if not await served.idle(grace):
            _log.warning(
                "model %s version %s: %d requests did not end within %.0f s of the unload and are cut off",
                served.desired.name, served.desired.version, served.references, grace,
            )  # fmt: skip
        self._closing(served)
        served.close()
