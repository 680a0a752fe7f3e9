"""Waiting for conditions with a deadline, never for a length of time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["until", "until_now"]


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Let the event loop run until ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come true in time")
        await asyncio.sleep(0.001)


def until_now(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """The same for code without an event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come true in time")
        time.sleep(0.001)
