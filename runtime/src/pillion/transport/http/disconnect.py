"""Cancelling a call whose client has left, at no cost to calls that end quickly.

ASGI tells of a disconnect only to who awaits ``receive()``, and that takes a task. A task per request costs more than
a small model's whole prediction, so the watch begins only when a call has run for some time: until then there is
one timer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from pillion.transport.http.body import ClientDisconnected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from types import TracebackType

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["DisconnectWatch"]


class DisconnectWatch:
    """``with`` block that is cancelled when the client leaves; the block then raises :class:`ClientDisconnected`.

    To be entered after the body has been read to its end, so that the next message can only be a disconnect.
    """

    __slots__ = ("_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop, grace: float) -> None:
        self._receive = receive
        self._task = asyncio.current_task(loop)
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False
        self._timer = loop.call_later(grace, self._begin)

    def __enter__(self) -> Self:
        return self

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self._gone = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watcher is None:
            return
        self._watcher.cancel()
        if not self._gone or self._task is None:
            return
        # As asyncio.timeout does: take back our own request for cancellation, and let a foreign one through.
        if self._task.uncancel() == 0 and (kind is None or kind is asyncio.CancelledError):
            raise ClientDisconnected from error
