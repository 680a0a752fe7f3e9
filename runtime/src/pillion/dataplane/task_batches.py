"""Calls of a task whose method takes many at once wait here for the model to be free, and then go together.

As for tensors (:mod:`pillion.dataplane.batching`) no timer decides: what was asked for in one turn of the event loop,
or while all slots were taken, is one call of the method, as far as it has room. A call that is cancelled, or whose
deadline passes, leaves before. When the method raises, its calls are tried again in halves, so that the one at fault
fails alone; an exception among its results fails only that one, and nothing is tried again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from pillion.dataplane.admission import deadline_exceeded
from pillion.dataplane.line import host_of
from pillion.dataplane.live import LiveCall
from pillion.errors import ErrorCode, PillionError
from pillion.execution.api import DeadlinePassedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pillion.authoring.batches import Batch
    from pillion.authoring.signature import TaskSignature
    from pillion.backends.api import BatchRun
    from pillion.dataplane.admission import Admission
    from pillion.dataplane.call import Call
    from pillion.metrics import ModelMetrics
    from pillion.repository.served import Served

__all__ = ["TaskBatcher"]

_FINAL: Final = frozenset({ErrorCode.NOT_READY, ErrorCode.MODEL_FAILED})
"""Failures that trying again would not mend."""


class _Item:
    """One call on its way."""

    __slots__ = ("_host", "arguments", "arrived", "batch", "batcher", "call", "deadline", "future", "rank", "timer",
                 "waited")  # fmt: skip

    def __init__(
        self,
        batcher: TaskBatcher,
        arguments: Mapping[str, Any],
        deadline: float | None,
        arrived: float,
        call: Call,
        rank: int,
    ) -> None:
        self.batcher = batcher
        self.rank = rank
        self.arguments = arguments
        self.deadline = deadline
        self.arrived = arrived
        self.call = call
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.batch: _Batch | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waited = False
        self._host: str | None = None

    @property
    def host(self) -> str:
        """Who sent it."""
        if self._host is None:
            self._host = host_of(self.call.client)
        return self._host

    def give_up(self, error: PillionError) -> None:
        """End its wait."""
        self.batcher.let_go(self)
        _fail(self, error)


class _Batch:
    """Calls of the method that are one. ``left`` of them still have somebody who waits."""

    __slots__ = ("items", "left", "task")

    def __init__(self, items: list[_Item]) -> None:
        self.items = items
        self.left = len(items)
        self.task: asyncio.Task[None] | None = None


class TaskBatcher:
    """The calls of one task. Event loop's thread only.

    Args:
        task: its signature.
        limits: of one call.
        served: the model and its executor.
        admission: its slots, and the limit of what may wait.
        metrics: of the model.
        clock: monotonic seconds.
        live: what waits or runs is noted here.
        leave: gives a slot back.
        failure: what a caller is told of an exception of the model's.
        begin: makes one call of many.
    """

    def __init__(
        self,
        task: TaskSignature,
        limits: Batch,
        served: Served,
        admission: Admission,
        metrics: ModelMetrics,
        clock: Callable[[], float],
        live: dict[int, LiveCall],
        *,
        leave: Callable[[], None],
        failure: Callable[[BaseException, Call], PillionError],
        begin: Callable[[list[Mapping[str, Any]]], BatchRun],
    ) -> None:
        self._limits = limits
        self._options = tuple(one.name for one in task.parameters if one.name not in task.items)
        self._served = served
        self._admission = admission
        self._metrics = metrics
        self._clock = clock
        self._live = live
        self._leave = leave
        self._failure = failure
        self._begin = begin
        self._waiting: OrderedDict[_Item, None] = OrderedDict()
        self._fresh: list[_Item] = []
        self._due = False
        self._delayed: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.extra = 0
        """Calls that share the slot of another one."""
        self._stands = False
        self.rank = 0
        """The highest of those that wait, while they stand in the line for a slot."""
        self.arrived = 0.0
        admission.gathered += (self,)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def places(self) -> Iterable[_Item]:
        """Everybody who waits."""
        return list(self._waiting)

    async def perform(self, arguments: Mapping[str, Any], call: Call, deadline: float | None, arrived: float) -> Any:  # noqa: ANN401 - plain data
        """One call.

        Raises:
            PillionError: with the code that says why.
        """
        if deadline is not None and deadline <= arrived:
            raise deadline_exceeded("before the request arrived")
        admission = self._admission
        rank = admission.ranks.of(call.priority)
        if admission.running >= admission.capacity:
            admission.admit(deadline, rank, call.client)
        item = _Item(self, arguments, deadline, arrived, call, rank)
        self._waiting[item] = None
        self._fresh.append(item)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)
        try:
            value = await item.future
        except PillionError:
            raise
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            raise self._failure(error, call) from None
        finally:
            self._left(item)
        if deadline is not None and deadline < self._clock():
            raise deadline_exceeded("while the model was running")
        return value

    def flush(self) -> None:
        """Begin with what waits, as far as there are slots."""
        self._due = False
        while self._waiting:
            now = self._clock()
            if self._too_soon(now):
                break
            if not self._admission.try_enter():
                self._stand()
                break
            items = self._next(now, by_age=False)
            if not items:
                self._admission.leave()
                break
            self._start(_Batch(items), now)
        fresh, self._fresh = self._fresh, []
        for item in fresh:
            if item in self._waiting:
                item.waited = True
                self._live[id(item.call)] = LiveCall(item.call, item.arrived, item.deadline)
                self._arm(item)

    def _stand(self) -> None:
        """Stand in the line for a slot, in the name of the highest of those that wait."""
        first = min(self._waiting, key=lambda item: item.rank)  # of equals the first
        if self._stands:
            if first.rank >= self.rank:
                return
            self._admission.step_out(self)
        self._stands, self.rank, self.arrived = True, first.rank, first.arrived
        self._admission.stand(self)

    def take(self, *, by_age: bool) -> bool:
        """See :class:`pillion.dataplane.line.InLine`."""
        self._stands = False
        now = self._clock()
        items = [] if not self._waiting or self._too_soon(now) else self._next(now, by_age=by_age)
        if not items:
            return False
        self._start(_Batch(items), now)
        if self._waiting:
            self._stand()
        return True

    def fail_waiting(self, error: Callable[[], PillionError]) -> None:
        """End every waiting call with an error of its own."""
        for item in list(self._waiting):
            item.give_up(error())

    def let_go(self, item: _Item) -> None:
        """One waits no more."""
        self._waiting.pop(item, None)

    def _too_soon(self, now: float) -> bool:
        """Whether what waits is to wait for more, and is looked at again when that has ended."""
        due = self._due_at(now)
        if due > now:
            self._wake(due - now)
        return due > now

    def _due_at(self, now: float) -> float:
        """When what waits is to begin at the latest."""
        limits = self._limits
        if not limits.max_delay_seconds or len(self._waiting) >= limits.max_size:
            return now
        due = next(iter(self._waiting)).arrived + limits.max_delay_seconds
        # Waiting until a deadline would be waiting for the call to fail.
        hurried = any(item.deadline is not None and item.deadline <= due for item in self._waiting)
        return now if hurried else due

    def _next(self, now: float, *, by_age: bool) -> list[_Item]:
        """The call whose turn it is, with those that fit to it: of the highest rank, or ``by_age`` of any, who has
        waited longest.
        """
        chosen: list[_Item] = []
        options: dict[str, Any] = {}
        ranked = self._admission.ranks.count > 1 and not by_age
        for item in sorted(self._waiting, key=lambda item: item.rank) if ranked else list(self._waiting):
            if item.future.done():
                self.let_go(item)
                continue
            if item.deadline is not None and item.deadline <= now:
                self.let_go(item)
                _fail(item, deadline_exceeded("while the request was waiting in the queue"))
                continue
            own = {name: item.arguments[name] for name in self._options if name in item.arguments}
            if not chosen:
                options = own
            elif not _same(options, own):
                continue
            self.let_go(item)
            chosen.append(item)
            if len(chosen) == self._limits.max_size:
                break
        return chosen

    def _left(self, item: _Item) -> None:
        """Nobody waits for this call any more."""
        if item.timer is not None:
            item.timer.cancel()
        self.let_go(item)
        batch, item.batch = item.batch, None
        if batch is not None:
            batch.left -= 1
            if not batch.left and batch.task is not None:
                batch.task.cancel()

    def _wake(self, seconds: float) -> None:
        if self._delayed is not None:
            self._delayed.cancel()
        self._delayed = asyncio.get_running_loop().call_later(seconds, self.flush)

    def _arm(self, item: _Item) -> None:
        if item.deadline is not None and item.timer is None:
            seconds = max(0.0, item.deadline - self._clock())
            item.timer = asyncio.get_running_loop().call_later(seconds, self._expire, item)

    def _expire(self, item: _Item) -> None:
        waits = item in self._waiting
        _fail(
            item,
            deadline_exceeded("while the request was waiting in the queue" if waits else "while the model was running"),
        )

    def _start(self, batch: _Batch, now: float) -> None:
        """In a slot that is counted already."""
        self.extra += len(batch.items) - 1
        for item in batch.items:
            item.batch = batch
            self._live[id(item.call)] = LiveCall(item.call, item.arrived, item.deadline, now)
            self._arm(item)
            if item.waited:
                self._metrics.queue_wait.observe(now - item.arrived)
        task = batch.task = asyncio.get_running_loop().create_task(self._compute(batch.items))
        self._running.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            failure = None if task.cancelled() else task.exception()
            for item in batch.items:
                item.batch = None
                if failure is not None:
                    _fail(item, failure)
            self.extra -= len(batch.items) - 1
            self._leave()

        # Not in the task: one that is cancelled before its first step never runs.
        task.add_done_callback(ended)

    async def _compute(self, items: list[_Item]) -> None:
        items = [item for item in items if not item.future.done()]
        if not items:
            return
        started = self._clock()
        deadlines = [item.deadline for item in items if item.deadline is not None]
        seconds = max(deadlines) - started if len(deadlines) == len(items) else None
        run = self._begin([item.arguments for item in items])
        try:
            await self._served.executor.run(run, (), (), seconds)
        except DeadlinePassedError:
            for item in items:
                _fail(item, deadline_exceeded("while the model was running"))
            return
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the callers, whatever it is
            if len(items) == 1 or (isinstance(error, PillionError) and error.code in _FINAL):
                for item in items:
                    _fail(item, error)
                return
            half = len(items) // 2
            await self._compute(items[:half])
            await self._compute(items[half:])
            return
        ended = self._clock()
        count = len(items)
        self._admission.rate.add_shared(ended - started, count)
        self._metrics.inference.observe(ended - started, count)
        self._metrics.batch_size.observe(count)
        for item, value in zip(items, run.values, strict=True):
            if item.call.times is not None:
                item.call.times.shared(item.arrived, started, ended, count)
            if isinstance(value, BaseException):
                _fail(item, value)
            elif not item.future.done():
                item.future.set_result(value)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two calls have the same options. What cannot be compared, such as arrays, is not the same."""
    if one.keys() != other.keys():
        return False
    try:
        return all(value is other[name] or bool(value == other[name]) for name, value in one.items())
    except Exception:  # noqa: BLE001 - whatever __eq__ of a user's class raises
        return False


def _fail(item: _Item, error: BaseException) -> None:
    if not item.future.done():
        # A future refuses StopIteration, and SystemExit would pass for one of the server's own.
        usual = isinstance(error, Exception) and not isinstance(error, StopIteration)
        item.future.set_exception(error if usual else RuntimeError(f"{type(error).__name__}: {error}"))
