"""Clients that take nothing of what is ready for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["StallWatch"]


class StallWatch:
    """Looks whether a connection that is full becomes less so, until :meth:`stop`.

    Args:
        loop: the running one.
        transport: on which nothing is written meanwhile, so that what is left only becomes less.
        seconds: in which some of it has to be taken.
        stalled: called when nothing was.
    """

    __slots__ = ("_left", "_loop", "_seconds", "_stalled", "_timer", "_transport")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        seconds: float,
        stalled: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._seconds = seconds
        self._stalled = stalled
        self._left = transport.get_write_buffer_size()
        self._timer = loop.call_later(seconds, self._look)

    def stop(self) -> None:
        """The client has caught up, or is gone."""
        self._timer.cancel()

    def _look(self) -> None:
        left = self._transport.get_write_buffer_size()
        if left >= self._left:
            self._stalled()
            return
        self._left = left
        self._timer = self._loop.call_later(self._seconds, self._look)
