"""What code that works for a request can ask about it, on the event loop and in threads."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

__all__ = ["CURRENT", "Working", "cancelled"]


class Working(Protocol):
    """A request that is being worked on."""

    @property
    def over(self) -> bool:
        """Whether nobody waits for its answer any more."""
        ...


CURRENT: ContextVar[Working | None] = ContextVar("pillion_request", default=None)


def cancelled() -> bool:
    """Whether nobody waits for the answer any more: the client has left, or the time is up.

    For plain functions, which nothing can interrupt: ask now and then, and return. ``async`` code gets
    ``asyncio.CancelledError`` instead. False outside of a request.
    """
    working = CURRENT.get()
    return working is not None and working.over
