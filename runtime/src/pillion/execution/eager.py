"""Coroutines that are begun at once: many end before they wait for anything, and then need no task.

From Python 3.12 on asyncio can do this; here is the same for 3.11, by the functions that asyncio documents for tasks of
other libraries ("Extending", "Task lifetime support"). The code sees a task of its own from its first line, so that
``asyncio.timeout`` and task groups work.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

__all__ = ["eager"]

_Value = TypeVar("_Value")


def eager(coroutine: Coroutine[Any, Any, _Value]) -> _Value | asyncio.Task[_Value]:
    """Run a coroutine up to its first wait: its result, or the task that goes on with it.

    Raises:
        BaseException: what it raised before it waited.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    rest = _Rest(coroutine)
    task = loop.create_task(rest.go_on(), context=context)
    outer = asyncio.current_task(loop)
    if outer is not None:
        asyncio._leave_task(loop, outer)
    asyncio._enter_task(loop, task)
    try:
        rest.waiting = context.run(coroutine.send, None)
    except StopIteration as finished:
        rest.coroutine = None
        result: _Value = finished.value
        return result
    except BaseException:
        rest.coroutine = None
        raise
    finally:
        asyncio._leave_task(loop, task)
        if outer is not None:
            asyncio._enter_task(loop, outer)
    task.add_done_callback(rest.ended)
    return task


class _Rest:
    """What is left of a coroutine that has been begun. ``coroutine`` is None where nothing is."""

    __slots__ = ("begun", "coroutine", "waiting")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine: Coroutine[Any, Any, Any] | None = coroutine
        self.waiting: object = None
        self.begun = False

    async def go_on(self) -> Any:  # noqa: ANN401 - of the coroutine
        self.begun = True
        return None if self.coroutine is None else await _resumed(self.coroutine, self.waiting)

    def ended(self, _: object) -> None:
        """A task that is cancelled before its own first step never reaches the coroutine."""
        if not self.begun and self.coroutine is not None:
            self.coroutine.close()


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, _Value], waiting: object) -> Generator[object, object, _Value]:
    """``await coroutine``, whose first wait has already begun."""
    try:
        while True:
            try:
                sent = yield waiting
            except BaseException as error:  # noqa: BLE001 - what `await` does: everything is thrown inwards
                waiting = coroutine.throw(error)
            else:
                waiting = coroutine.send(sent)
    except StopIteration as finished:
        result: _Value = finished.value
        return result
