"""Cancelling a call whose client has left, at no cost to calls that end quickly.

ASGI tells of a disconnect only to who awaits ``receive()``, and that takes a task. A task per request costs more than
a small model's whole prediction. So a call is first driven up to where it has to wait: many models answer before that.
Only then is there a timer, and only when that fires, a task that watches the connection.
"""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pillion.transport.http.body import ClientDisconnected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
    from types import TracebackType

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["DisconnectWatch", "finish_watched", "watched"]

_Result = TypeVar("_Result")


async def watched(running: Coroutine[Any, Any, _Result], receive: Receive, grace: float) -> _Result:
    """The result of a call that has not been started; where it does not end at once, as :func:`finish_watched`.

    Raises:
        ClientDisconnected: the client left; the coroutine has been cancelled and has ended.
    """
    try:
        waiting = running.send(None)
    except StopIteration as finished:
        result: _Result = finished.value
        return result
    return await finish_watched(running, waiting, receive, grace)


async def finish_watched(
    running: Coroutine[Any, Any, _Result], waiting: object, receive: Receive, grace: float
) -> _Result:
    """The result of a coroutine that has been started by hand and waits for something.

    Args:
        running: the coroutine, after its first ``send(None)``.
        waiting: what that gave: the future it waits for.
        receive: the ASGI channel of a request whose body has been read to its end.
        grace: seconds before the connection is watched.

    Raises:
        ClientDisconnected: the client left; the coroutine has been cancelled and has ended.
    """
    with DisconnectWatch(receive, grace):
        return await _resume(running, waiting)


@types.coroutine
def _resume(running: Coroutine[Any, Any, _Result], waiting: object) -> Generator[object, object, _Result]:
    """``await running``, for a coroutine whose first wait has already begun."""
    try:
        while True:
            try:
                sent = yield waiting
            except BaseException as error:  # noqa: BLE001  # what ``await`` does: everything is thrown inwards
                waiting = running.throw(error)
            else:
                waiting = running.send(sent)
    except StopIteration as finished:
        result: _Result = finished.value
        return result


class DisconnectWatch:
    """``with`` block that is cancelled when the client leaves; the block then raises :class:`ClientDisconnected`.

    To be entered after the body has been read to its end, so that the next message can only be a disconnect.
    """

    __slots__ = ("_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive, grace: float) -> None:
        loop = asyncio.get_running_loop()
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
