"""In the server: what the code of one call in a worker process asks of other models."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

from pillion.execution.messages import STREAM, Answered, Ask, Circumstances
from pillion.execution.remote import failed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from pillion.authoring.context import Working

__all__ = ["Asked"]


class Asked:
    """See the module's docstring. Event loop's thread only.

    Args:
        working: what the call is made for.
        answer: makes the calls that are asked for.
    """

    def __init__(self, working: Working, answer: Callable[[Working, Ask], Awaitable[Any]] | None) -> None:
        self._working = working
        self._answer = answer
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._streams: dict[int, AsyncGenerator[list[Any], None]] = {}

    @property
    def circumstances(self) -> Circumstances | None:
        """What the code is told of them; None where nobody could answer it."""
        working = self._working
        if self._answer is None or working.plane is None:
            return None
        return Circumstances(
            working.request_id, working.deadline, working.path, working.trace.header if working.trace else ""
        )

    def begin(self, ask: Ask, reply: Callable[[Answered], None]) -> None:
        """Make the call that is asked for."""
        self._follow(ask.number, asyncio.get_running_loop().create_task(self._make(ask, reply)))

    def forget(self, number: int) -> None:
        """Nobody waits for that any more."""
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()
        elif (stream := self._streams.pop(number, None)) is not None:
            self._follow(number, asyncio.get_running_loop().create_task(_closed(stream)))

    def end(self, _: object = None) -> None:
        """Nobody waits for any of it any more."""
        for number in {*self._tasks, *self._streams}:
            self.forget(number)

    async def _make(self, ask: Ask, reply: Callable[[Answered], None]) -> None:
        try:
            value = await (self._items(ask) if ask.way == STREAM else self._one(ask))
            answer = Answered(ask.number, pickle.dumps(value, protocol=5))
        except asyncio.CancelledError:
            self._streams.pop(ask.number, None)  # it has been cancelled, too
            raise
        except Exception as error:  # noqa: BLE001 - it is the code's that asked
            self._streams.pop(ask.number, None)
            answer = Answered(ask.number, failure=failed(ask.id, error, []))
        reply(answer)

    async def _one(self, ask: Ask) -> Any:  # noqa: ANN401 - as the model answers
        if self._answer is None:  # not told of circumstances, it cannot ask
            raise RuntimeError("there is nobody to ask")
        return await self._answer(self._working, ask)

    async def _items(self, ask: Ask) -> list[Any]:
        """The items that there are, at least one; none at the end."""
        stream = self._streams.get(ask.number)
        if stream is None:
            stream = self._streams[ask.number] = await self._one(ask)
        taken: list[Any] = await anext(stream, [])
        if not taken:
            del self._streams[ask.number]
        return taken

    def _follow(self, number: int, task: asyncio.Task[None]) -> None:
        self._tasks[number] = task
        # Not in the task: one that is cancelled before its first step never runs.
        task.add_done_callback(lambda ended: self._tasks.get(number) is ended and self._tasks.pop(number))


async def _closed(stream: AsyncGenerator[Any, None]) -> None:
    await stream.aclose()
