"""What code that works for a request can ask about it, on the event loop and in threads."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

    from pillion.dataplane.plane import DataPlane

__all__ = ["CURRENT", "Working", "cancelled"]


class Working(Protocol):
    """A request that is being worked on."""

    @property
    def over(self) -> bool:
        """Whether nobody waits for its answer any more."""
        ...

    @property
    def request_id(self) -> str:
        """Its id."""
        ...

    @property
    def deadline(self) -> float | None:
        """When its time is up, on the monotonic clock; None: never."""
        ...

    @property
    def plane(self) -> DataPlane | None:
        """Where the models of the server are."""
        ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it is worked on."""
        ...

    @property
    def nested(self) -> set[concurrent.futures.Future[Any]]:
        """Calls that threads wait for, which end with it."""
        ...


CURRENT: ContextVar[Working | None] = ContextVar("pillion_request", default=None)


def cancelled() -> bool:
    """Whether nobody waits for the answer any more: the client has left, or the time is up.

    For plain functions, which nothing can interrupt: ask now and then, and return. ``async`` code gets
    ``asyncio.CancelledError`` instead. False outside of a request.
    """
    working = CURRENT.get()
    return working is not None and working.over
