"""What all requests that share calls of a model have in common, whatever the calls are of.

Tensors (:mod:`pillion.dataplane.batching`) and tasks whose method takes many (:mod:`pillion.dataplane.task_batches`)
differ in what fits together and in how one call is made of many. How they wait, stand in the model's line for a slot,
are computed in it and leave is here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from pillion.dataplane.admission import deadline_exceeded
from pillion.dataplane.line import host_of
from pillion.dataplane.live import LiveCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pillion.dataplane.admission import Admission
    from pillion.dataplane.call import Call
    from pillion.errors import PillionError
    from pillion.metrics import ModelMetrics
    from pillion.repository.served import Served

__all__ = ["Shared", "SharedCalls", "SharedItem", "Waits", "due_at"]

_WAITING: Final = "while the request was waiting in the queue"
_RUNNING: Final = "while the model was running"


class SharedItem:
    """One request on its way."""

    __slots__ = ("_host", "arrived", "batch", "call", "deadline", "future", "rank", "timer", "waited", "waits")

    def __init__(self, deadline: float | None, arrived: float, call: Call) -> None:
        self.call = call
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.deadline = deadline
        self.arrived = arrived
        self.rank = 0
        self.waits: Waits[Any] | None = None
        """Where it waits; None once it is on its way."""
        self.batch: _Batch[Any] | None = None
        """Those that it is computed with."""
        self.timer: asyncio.TimerHandle | None = None
        self.waited = False
        """Whether it found the model busy."""
        self._host: str | None = None

    @property
    def host(self) -> str:
        """Who sent it."""
        if self._host is None:
            self._host = host_of(self.call.client)
        return self._host

    def give_up(self, error: PillionError) -> None:
        """End its wait."""
        if self.waits is not None:
            self.waits.take(self)
        self.fail(error)

    def gone(self, now: float) -> bool:
        """Whether it needs no call any more, when its turn comes: it has been answered, or is too late and told so."""
        if not self.future.done():
            if self.deadline is None or self.deadline > now:
                return False
            self.fail(deadline_exceeded(_WAITING))
        if self.waits is not None:
            self.waits.take(self)
        return True

    def fail(self, error: BaseException) -> None:
        """Answer it with an error, unless it has been answered."""
        if not self.future.done():
            # A future refuses StopIteration, and SystemExit would pass for one of the server's own.
            usual = isinstance(error, Exception) and not isinstance(error, StopIteration)
            self.future.set_exception(error if usual else RuntimeError(f"{type(error).__name__}: {error}"))


Shared = TypeVar("Shared", bound=SharedItem)


class Waits(Protocol[Shared]):
    """What waits, and what of it goes together. Adding and taking keep :attr:`SharedItem.waits`."""

    due: float | None
    """When those are due that :meth:`next` has left waiting for others; monotonic seconds."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        ...

    def add(self, item: Shared) -> None:
        """One more waits."""
        ...

    def take(self, item: Shared) -> None:
        """One waits no more."""
        ...

    def places(self) -> Iterable[Shared]:
        """Everybody who waits."""
        ...

    def first(self) -> Shared:
        """In whose name a slot is asked for; there is somebody."""
        ...

    def next(self, now: float, *, by_age: bool = False) -> list[Shared]:
        """Take out those that are computed together next; none while none is due.

        Args:
            now: monotonic seconds.
            by_age: who has waited longest goes first, whatever its rank.
        """
        ...


def due_at(items: Iterable[SharedItem], delay: float) -> float:
    """When requests that wait for others begin at the latest: at once where one would be late by then.

    Args:
        items: the first has waited longest; there is one.
        delay: seconds that a request waits for others.
    """
    waiting = list(items)
    arrived = waiting[0].arrived
    due = arrived + delay
    return arrived if any(item.deadline is not None and item.deadline <= due for item in waiting) else due


class _Batch(Generic[Shared]):
    """Requests in one call. ``task`` waits for the call, where that is elsewhere."""

    __slots__ = ("items", "left", "task")

    def __init__(self, items: list[Shared]) -> None:
        self.items = items
        self.left = len(items)
        """Requests whose caller still waits."""
        self.task: asyncio.Task[None] | None = None


class SharedCalls(ABC, Generic[Shared]):
    """The requests of one kind that wait to be computed together. Event loop's thread only.

    Args:
        served: the model and its executor.
        admission: slots, one for each call outside of the event loop; and the limit of what may wait.
        waits: what waits.
        metrics: of the model.
        clock: monotonic seconds.
        live: what waits or runs elsewhere is noted here, for whoever asks.
        leave: gives a slot back.
    """

    def __init__(
        self,
        served: Served,
        admission: Admission,
        waits: Waits[Shared],
        metrics: ModelMetrics,
        clock: Callable[[], float],
        live: dict[int, LiveCall],
        leave: Callable[[], None],
    ) -> None:
        self._served = served
        self._admission = admission
        self._waits = waits
        self._metrics = metrics
        self._clock = clock
        self._live = live
        self._leave = leave
        admission.gathered += (waits,)
        self._fresh: list[Shared] = []
        self._announced = False
        self._delayed: asyncio.TimerHandle | None = None
        self._running: dict[asyncio.Task[None], _Batch[Shared]] = {}
        self.extra = 0
        """Requests that share the slot of another one."""
        self._stands = False
        self.rank = 0
        """The highest of those that wait, while they stand in the line for a slot."""
        self.arrived = 0.0

    def add(self, item: Shared) -> None:
        """Have one request computed with others; await its ``future``, and call :meth:`left` when nobody does any more.

        Raises:
            PillionError: ``QUEUE_FULL`` at once.
        """
        admission = self._admission
        if admission.ranks.levels:
            item.rank = admission.ranks.of(item.call.priority)
        if self._must_wait():
            admission.admit(item.deadline, item.rank, item.call.client)
        self._waits.add(item)
        self._fresh.append(item)
        if not self._announced:
            self._announced = True
            self._announce()

    def left(self, item: Shared) -> None:
        """Nobody waits for this request any more: it was answered, given up, or ran out of time."""
        if item.timer is not None:
            item.timer.cancel()
        if item.waits is not None:
            self._waits.take(item)
        elif item.batch is not None:
            batch, item.batch = item.batch, None
            batch.left -= 1
            if not batch.left and batch.task is not None:
                batch.task.cancel()

    def flush(self) -> None:
        """Compute what waits, as far as the model is free."""
        self._announced = False
        admission = self._admission
        waits = self._waits
        while waits.waiting:
            immediate = self._immediate()
            if not immediate and not admission.try_enter():
                self._stand()
                break
            now = self._clock()
            items = waits.next(now)
            if immediate:
                if items:
                    self._compute_now(items)
            elif items:
                self._start(items, now)
            else:
                admission.leave()
            if not items:
                self._wake(now)
                break
        fresh, self._fresh = self._fresh, []
        for item in fresh:
            if item.waits is not None:
                item.waited = True
                self._live[id(item.call)] = LiveCall(item.call, item.arrived, item.deadline)
                self._arm(item)

    def take(self, *, by_age: bool) -> bool:
        """See :class:`pillion.dataplane.line.InLine`."""
        self._stands = False
        if self._immediate():  # since it began to stand there
            asyncio.get_running_loop().call_soon(self.flush)
            return False
        now = self._clock()
        items = self._waits.next(now, by_age=by_age)
        if not items:
            self._wake(now)
            return False
        self._start(items, now)
        if self._waits.waiting:
            self._stand()
        return True

    def fail_waiting(self, error: Callable[[], PillionError]) -> None:
        """End every waiting request with an error of its own."""
        for item in self._waits.places():
            item.give_up(error())

    # --- for each kind

    @abstractmethod
    def _announce(self) -> None:
        """Have :meth:`flush` called at the end of the turn."""

    @abstractmethod
    def _must_wait(self) -> bool:
        """Whether one more would have to wait, and so has to be let in."""

    @abstractmethod
    async def _compute(self, items: list[Shared]) -> None:
        """Answer each of them, by one call or several."""

    def _immediate(self) -> bool:
        """Whether calls run on the event loop."""
        return False

    def _compute_now(self, items: list[Shared]) -> None:
        """The same as :meth:`_compute` on the event loop."""
        raise NotImplementedError

    # --- for all

    def _start(self, items: list[Shared], now: float) -> None:
        """Elsewhere than on the event loop, in a slot that is counted already."""
        batch = _Batch(items)
        self.extra += len(items) - 1
        for item in items:
            item.batch = batch
            self._live[id(item.call)] = LiveCall(item.call, item.arrived, item.deadline, now)
            self._arm(item)
            if item.waited:
                self._metrics.queue_wait.observe(now - item.arrived)
        task = batch.task = asyncio.get_running_loop().create_task(self._compute(items))
        self._running[task] = batch  # asyncio itself holds tasks by weak references only
        # Not in the task: one that is cancelled before its first step never runs.
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        batch = self._running.pop(task)
        failure = None if task.cancelled() else task.exception()
        for item in batch.items:
            item.batch = None
            if failure is not None:
                item.fail(failure)
        self.extra -= len(batch.items) - 1
        self._leave()  # to whose turn it is

    def _left_out(self, items: Sequence[Shared]) -> None:
        """The call was given up when the last of their deadlines had passed."""
        for item in items:
            item.fail(deadline_exceeded(_RUNNING))

    def _seconds(self, items: Sequence[Shared], started: float) -> float | None:
        """How long a call of these may take; None where one has no deadline."""
        deadlines = [item.deadline for item in items if item.deadline is not None]
        return max(deadlines) - started if len(deadlines) == len(items) else None

    def _hand_out(
        self, items: Sequence[Shared], values: Sequence[Any], started: float, prepared: float, computed: float
    ) -> None:
        """Answer each with its own value, which may be an exception, and take note of the call: when it began, when its
        inputs were together, and when the model had computed.
        """
        ended = self._clock()
        elapsed = ended - started
        count = len(items)
        self._admission.rate.add_shared(elapsed, count)
        self._metrics.inference.observe(elapsed, count)
        self._metrics.batch_size.observe(count)
        runs = self._metrics.batches_of(count)
        runs.runs += 1
        runs.prepared += prepared - started
        runs.computed += computed - prepared
        runs.divided += ended - computed
        for item, value in zip(items, values, strict=True):
            if item.call.times is not None:
                item.call.times.shared(item.arrived, started, ended, count)
            if isinstance(value, BaseException):
                item.fail(value)
            elif not item.future.done():
                item.future.set_result(value)

    def _stand(self) -> None:
        """Stand in the line for a slot, in the name of the highest of those that wait."""
        first = self._waits.first()
        if self._stands:
            if first.rank >= self.rank:
                return
            self._admission.step_out(self)
        self._stands, self.rank, self.arrived = True, first.rank, first.arrived
        self._admission.stand(self)

    def _wake(self, now: float) -> None:
        """Look again when those are due that wait for others."""
        due = self._waits.due
        if due is None:
            return
        if self._delayed is not None:
            self._delayed.cancel()
        self._delayed = asyncio.get_running_loop().call_later(max(0.0, due - now), self.flush)

    def _arm(self, item: Shared) -> None:
        """From now on its deadline is watched: the call, or the wait for one, may outlast it."""
        if item.deadline is not None and item.timer is None:
            seconds = max(0.0, item.deadline - self._clock())
            item.timer = asyncio.get_running_loop().call_later(seconds, self._expire, item)

    def _expire(self, item: Shared) -> None:
        item.fail(deadline_exceeded(_RUNNING if item.waits is None else _WAITING))
