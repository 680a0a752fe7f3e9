"""Calls in a bounded pool of threads, given up without waiting for them.

Python cannot stop a thread. A call whose client left or whose deadline passed is *abandoned*: its result is dropped,
its slot is free at once, and it is counted until it ends. So that abandoned calls do not starve the others, the pool
grows by one thread for each of them, up to ``spare`` threads more than ``threads``. The bound is hard: with more than
``spare`` calls abandoned, the remaining ones share what is left, and with ``threads + spare`` calls that never end
the model answers "deadline exceeded" and "queue full" until some do. The metric ``pillion_abandoned_calls`` shows it.

All bookkeeping happens on the event loop's thread; workers only take items and report back through
``call_soon_threadsafe``, so there is no lock beside the one inside ``SimpleQueue``.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from queue import SimpleQueue
from typing import TYPE_CHECKING

from pillion.execution.api import DeadlinePassedError, Interrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.api import Predictor
    from pillion.tensors import Tensor

__all__ = ["ThreadExecutor"]


class _Item:
    """One call on its way through the pool."""

    __slots__ = (
        "abandoned",
        "begun",
        "dropped",
        "finished",
        "future",
        "inputs",
        "interrupt",
        "loop",
        "model",
        "outputs",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
    ) -> None:
        self.loop = loop
        self.future: asyncio.Future[list[Tensor]] = loop.create_future()
        self.model = model
        self.inputs = inputs
        self.outputs = outputs
        self.interrupt = Interrupt()
        self.begun = False
        self.dropped = False
        self.finished = False
        self.abandoned = False


class ThreadExecutor:
    """A pool of ``threads`` daemon threads, started as they are needed."""

    def __init__(self, name: str, threads: int, spare: int | None = None) -> None:
        self._name = name
        self._threads = threads
        self._spare = threads if spare is None else spare
        self._pending: OrderedDict[_Item, None] = OrderedDict()
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._started = 0
        self._busy = 0
        self._abandoned = 0
        self._closed = False

    immediate = False

    @property
    def abandoned(self) -> int:
        """Calls given up that still hold a thread."""
        return self._abandoned

    @property
    def busy(self) -> int:
        """Calls handed to a thread that have not come back yet, abandoned ones included."""
        return self._busy

    @property
    def idle(self) -> bool:
        """Whether no call is in a thread or waits for one."""
        return not self._busy and not self._pending

    async def run(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,
    ) -> list[Tensor]:
        """Run the call in a thread of the pool (see :class:`~pillion.execution.api.Executor`)."""
        if self._closed:
            raise RuntimeError(f"the threads of {self._name} have been closed")
        loop = asyncio.get_running_loop()
        item = _Item(loop, model, inputs, outputs)
        self._pending[item] = None
        timer: asyncio.TimerHandle | None = None
        try:
            self._dispatch()
            if seconds is not None:
                timer = loop.call_later(seconds, _expire, item.future)
            return await item.future
        finally:
            if timer is not None:
                timer.cancel()
            if not _has_result(item.future):
                self._drop(item)

    def close(self) -> None:
        """Let the threads end after the calls that are waiting now."""
        if not self._closed:
            self._closed = True
            self._end_if_done()

    def _dispatch(self) -> None:
        """Hand waiting calls to threads as far as there are any to spare."""
        while self._pending and self._busy < self._threads + min(self._abandoned, self._spare):
            if self._started <= self._busy:
                name = f"{self._name}-{self._started + 1}"
                try:
                    threading.Thread(target=self._work, name=name, daemon=True).start()
                except RuntimeError:  # a limit of the pod or the machine: those that there are take the calls in turn
                    if not self._started:
                        raise
                    return
                self._started += 1
            item, _ = self._pending.popitem(last=False)
            self._busy += 1
            self._queue.put(item)

    def _drop(self, item: _Item) -> None:
        """Give an unfinished call up: forgotten if not begun, else interrupted, and counted until it ends."""
        if item in self._pending:
            del self._pending[item]
            self._end_if_done()
            return
        if item.finished:
            return  # after its waiting was cancelled, before the one who waited had a turn to come here
        item.dropped = True  # before reading `begun`; the worker writes and reads them the other way round
        if item.begun:
            item.abandoned = True
            self._abandoned += 1
            item.interrupt.fire()
            self._dispatch()

    def _end_if_done(self) -> None:
        if self._closed and not self._pending:
            for _ in range(self._started):
                self._queue.put(None)
            self._started = 0

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            result: list[Tensor] | None = None
            failure: Exception | None = None
            item.begun = True
            if not item.dropped:
                try:
                    result = item.model.predict(item.inputs, item.outputs, item.interrupt)
                except Exception as error:  # noqa: BLE001 - a model may raise anything; it belongs to its caller
                    failure = error
                except BaseException as error:  # noqa: BLE001 - sys.exit() in a model must not end the server
                    failure = RuntimeError(f"{type(error).__name__}: {error}")
            try:
                item.loop.call_soon_threadsafe(self._finished, item, result, failure)
            except RuntimeError:
                return  # the loop is closed: the process is ending and nobody waits
            del item, result, failure  # an idle thread must not keep the last call's tensors alive

    def _finished(self, item: _Item, result: list[Tensor] | None, failure: Exception | None) -> None:
        self._busy -= 1
        item.finished = True
        if item.abandoned:
            self._abandoned -= 1
        elif not item.future.done():
            if isinstance(failure, StopIteration):  # a future refuses it
                item.future.set_exception(RuntimeError(f"StopIteration: {failure}"))
            elif failure is not None:
                item.future.set_exception(failure)
            else:
                item.future.set_result(result if result is not None else [])
        self._dispatch()
        self._end_if_done()


def _expire(future: asyncio.Future[list[Tensor]]) -> None:
    if not future.done():
        future.set_exception(DeadlinePassedError())


def _has_result(future: asyncio.Future[list[Tensor]]) -> bool:
    """Whether the model came back, with tensors or with its own exception."""
    if not future.done() or future.cancelled():
        return False
    return not isinstance(future.exception(), DeadlinePassedError)
