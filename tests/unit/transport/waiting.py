"""Waiting for what happens elsewhere, with a deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE: Final = 10.0


async def until(condition: Callable[[], bool]) -> None:
    """Return once ``condition`` holds.

    Raises:
        TimeoutError: it did not within :data:`DEADLINE` seconds.
    """
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # the condition belongs to other tasks, which set no event for it
            await asyncio.sleep(0.005)
