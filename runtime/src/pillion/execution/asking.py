"""In a worker process: what the code of a call asks of other models. The server makes those calls.

The main thread runs the call and is the one that receives, so that is where answers are waited for: by a plain method
itself, or on the event loop of an ``async`` one.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import threading
from typing import TYPE_CHECKING, Any

from pillion.execution.messages import STREAM, Ask, Unasked
from pillion.execution.remote import raised
from pillion.tracing.nested import trace_of_header

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncGenerator, Mapping

    from pillion.execution.api import Interrupt
    from pillion.execution.messages import Answered, Circumstances
    from pillion.execution.worker_connection import Connection

__all__ = ["Asking", "WorkerCall"]


class Asking:
    """All that one worker asks for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = 0
        self._answers: dict[int, Answered | None] = {}
        """By their numbers; None while they are waited for."""
        connection.on_answer = self._take

    def _take(self, message: Answered) -> None:
        if message.number in self._answers:  # else nobody waits for it any more
            self._answers[message.number] = message

    def next(self) -> int:
        """A number."""
        self._numbers += 1
        return self._numbers

    def wait(self, ask: Ask) -> Any:  # noqa: ANN401 - as the model answers
        """The answer, for a plain method: in the main thread, which can be stopped meanwhile.

        Raises:
            Exception: what the call failed with.
        """
        connection = self._connection
        self._answers[ask.number] = None
        try:
            connection.send_midway(ask)
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            poll.register(connection.bell, select.POLLIN)
            while (message := self._answers[ask.number]) is None:
                for descriptor, _ in poll.poll():
                    if descriptor == connection.bell:
                        os.eventfd_read(connection.bell)
                    else:
                        connection.receive_midway()
        finally:
            del self._answers[ask.number]
        return _value(message)

    async def wait_async(self, ask: Ask) -> Any:  # noqa: ANN401 - as above
        """The same on the main thread's event loop."""
        connection = self._connection
        self._answers[ask.number] = None
        try:
            connection.send_midway(ask)
            while (message := self._answers[ask.number]) is None:
                await connection.received()
                if connection.ended:
                    raise EOFError("the server has ended")
        except asyncio.CancelledError:
            self.forget(ask)
            raise
        finally:
            del self._answers[ask.number]
        return _value(message)

    def forget(self, ask: Ask) -> None:
        """Tell that nobody waits for it any more."""
        self._connection.send_midway(Unasked(ask.id, ask.number))


class WorkerCall:
    """One call in a worker process (see :class:`~pillion.authoring.context.Working`)."""

    plane = None

    def __init__(self, number: int, circumstances: Circumstances, asking: Asking, interrupt: Interrupt) -> None:
        self.request_id = circumstances.request_id
        self.deadline = circumstances.deadline
        self.path = circumstances.path
        self.trace = trace_of_header(circumstances.traceparent.encode())
        self.nested: set[concurrent.futures.Future[Any]] = set()
        self._number = number
        self._asking = asking
        self._interrupt = interrupt
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def over(self) -> bool:
        """Whether nobody waits for its answer any more."""
        return self._interrupt.fired

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where an ``async`` method runs.

        Raises:
            RuntimeError: a plain one runs, in another thread than who asks.
        """
        if self._loop is None:
            raise RuntimeError("in a worker process a plain method calls models in the thread that it was called in")
        return self._loop

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """It is on an event loop."""
        self._loop = loop

    def ask(self, model: str, way: int, task: str, arguments: Mapping[str, Any], *, shield: bool = False) -> Ask:
        """An order that is not sent yet."""
        data = pickle.dumps(dict(arguments), protocol=5)
        return Ask(self._number, self._asking.next(), model, way, task, data, shield)

    @property
    def waits_here(self) -> bool:
        """Whether a plain method runs, in this thread."""
        return self._loop is None and threading.current_thread() is threading.main_thread()

    def wait(self, ask: Ask) -> Any:  # noqa: ANN401 - as the model answers
        """See :meth:`Asking.wait`."""
        return self._asking.wait(ask)

    async def answer(self, ask: Ask) -> Any:  # noqa: ANN401 - as above
        """See :meth:`Asking.wait_async`."""
        return await self._asking.wait_async(ask)

    async def items(self, model: str, task: str, arguments: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """The items of a task that yields."""
        ask = self.ask(model, STREAM, task, arguments)
        more = True
        try:
            while more:
                taken = await self._asking.wait_async(ask)
                more = bool(taken)
                for item in taken:
                    yield item
        except (GeneratorExit, asyncio.CancelledError):
            self._asking.forget(ask)
            raise


def _value(message: Answered) -> Any:  # noqa: ANN401 - as above
    if message.failure is not None:
        raise raised(message.failure)
    return pickle.loads(message.value)  # noqa: S301 - written by the server
