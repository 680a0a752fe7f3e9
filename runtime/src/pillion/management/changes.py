"""Changes that go on where who asked for them leaves: half a deployment would be worse than one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Changes"]

_log: Final = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_TO_CLEAR_UP: Final = 1.0
"""Seconds for changes that were cancelled."""


class Changes:
    """Those of one server, which waits for them at its end."""

    def __init__(self) -> None:
        self._going: set[asyncio.Task[Any]] = set()

    async def unbroken(self, change: Coroutine[Any, Any, _Value]) -> _Value:
        """Wait for a change that goes on to its end also where the caller is cancelled."""
        task = asyncio.ensure_future(change)
        self._going.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._going.discard(task)
        if not task.cancelled():
            task.exception()  # the audit log has told of it, if nobody waits any more

    async def close(self, seconds: float) -> None:
        """Wait so long for those that go on, and give up the others."""
        if self._going:
            await asyncio.wait(set(self._going), timeout=seconds)
        left = set(self._going)
        for task in left:
            task.cancel()
        if left:
            _log.warning("%d changes of models were given up: the server stops", len(left))
            await asyncio.wait(left, timeout=_TO_CLEAR_UP)
