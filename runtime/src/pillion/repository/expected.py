"""What is known of the tasks of a model before it is loaded: classes say what they declare, and only then compute."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.authoring.signature import TaskSignature

__all__ = ["Expected"]


class Expected:
    """Of one load. Made on the event loop, and told by the thread that loads.

    Args:
        python: whether it is of a class; other models have no tasks.
    """

    def __init__(self, *, python: bool) -> None:
        self.tasks: Mapping[str, TaskSignature] | None = None if python else {}
        """None where they are not known yet."""
        self._loop = asyncio.get_running_loop()
        self._known = asyncio.Event()

    def tell(self, tasks: Mapping[str, TaskSignature]) -> None:
        """In the thread: the class has been imported, and declares these."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, tasks)

    def end(self) -> None:
        """The load has ended: nobody needs to wait for it any more."""
        self._settle({})

    def _settle(self, tasks: Mapping[str, TaskSignature]) -> None:
        if self.tasks is None:
            self.tasks = tasks
        self._known.set()

    async def known(self) -> None:
        """Wait for that."""
        await self._known.wait()
