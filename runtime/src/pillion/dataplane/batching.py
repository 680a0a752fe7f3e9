"""Requests that wait for one model share its calls: what runs. What waits is in :mod:`pillion.dataplane.gathering`.

A batch starts when the model is free, not when a timer fires: for a model on the event loop at the end of the turn in
which its requests arrived, for one in threads also whenever it is their turn for a slot. So a request that comes alone
waits for nothing, and the more wait, the more go together. What is put together is decided by
:mod:`pillion.execution.batch`, how much of it by :class:`~pillion.dataplane.gathering.BatchLimits`.

A request that is cancelled or whose deadline passes leaves its batch before the call. When a call fails, its requests
are tried again in halves, so that the one at fault fails alone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from pillion.dataplane.admission import deadline_exceeded
from pillion.dataplane.gathering import Groups
from pillion.dataplane.live import LiveCall
from pillion.errors import ErrorCode, PillionError
from pillion.execution.api import DeadlinePassedError, WorkerDiedError
from pillion.execution.batch import apart, together

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pillion.dataplane.admission import Admission
    from pillion.dataplane.gathering import BatchLimits, Gathering, Item
    from pillion.metrics import ModelMetrics
    from pillion.repository.served import Served
    from pillion.tensors import Tensor

__all__ = ["Batcher"]

_log = logging.getLogger(__name__)
_WAITING: Final = "while the request was waiting in the queue"


class _Batch:
    """Requests in one call. ``task`` waits for the call, where that is elsewhere."""

    __slots__ = ("items", "left", "task")

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.left = len(items)
        """Requests whose caller still waits."""
        self.task: asyncio.Task[None] | None = None


class Batcher:
    """The requests of one model that wait to be computed. Event loop's thread only.

    Args:
        served: the model and its executor.
        admission: slots, one for each call outside of the event loop; and the limit of what may wait.
        limits: of one batch.
        metrics: of the model.
        clock: monotonic seconds.
        gathering: told when something waits for the end of the turn.
        live: what waits or runs elsewhere is noted here, for whoever asks.
    """

    def __init__(
        self,
        served: Served,
        admission: Admission,
        limits: BatchLimits,
        metrics: ModelMetrics,
        clock: Callable[[], float],
        gathering: Gathering,
        live: dict[int, LiveCall],
    ) -> None:
        self._served = served
        self._run_once = getattr(served.executor, "run_once", served.executor.run)
        self._admission = admission
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._gathering = gathering
        self._live = live
        self._groups = Groups(limits, _late, ranked=admission.ranks.count > 1)
        admission.gathered += (self._groups,)
        self._most = max(admission.max_queue, limits.rows)
        """Requests that may wait for others although the model is free."""
        self._fresh: list[Item] = []
        self._announced = False
        self._delayed: asyncio.TimerHandle | None = None
        self._running: dict[asyncio.Task[None], _Batch] = {}
        self.extra = 0
        """Requests that share the slot of another one."""
        self._stands = False
        self.rank = 0
        """The highest of those that wait, while they stand in the line for a slot."""
        self.arrived = 0.0

    def add(self, item: Item) -> None:
        """Have one request computed with others; await its ``future``, and call :meth:`left` when nobody does any more.

        Raises:
            PillionError: ``QUEUE_FULL`` at once.
        """
        admission = self._admission
        if admission.ranks.levels:
            item.rank = admission.ranks.of(item.call.priority)
        waits = admission.running >= admission.capacity and not self._served.executor.immediate
        if waits or (self._limits.delay_seconds and self._groups.waiting >= self._most):
            admission.admit(item.deadline, item.rank, item.call.client)
        self._groups.add(item)
        self._fresh.append(item)
        if not self._announced:
            self._announced = True
            self._gathering.announce(self)

    @property
    def needless(self) -> bool:
        """Whether a request that begins now would be computed at once and alone."""
        return (
            self._gathering.lone
            and not self._groups.waiting
            and not self._limits.delay_seconds
            and self._served.executor.immediate
        )

    def left(self, item: Item) -> None:
        """Nobody waits for this request any more: it was answered, given up, or ran out of time."""
        if item.timer is not None:
            item.timer.cancel()
        if item.group is not None:
            self._groups.take(item)
        elif isinstance(item.batch, _Batch):
            batch, item.batch = item.batch, None
            batch.left -= 1
            if not batch.left and batch.task is not None:
                batch.task.cancel()

    def flush(self) -> None:
        """Compute what waits, as far as the model is free."""
        self._announced = False
        admission = self._admission
        groups = self._groups
        while groups.waiting:
            immediate = self._served.executor.immediate
            if not immediate and not admission.try_enter():
                self._stand()
                break
            now = self._clock()
            batch = groups.next(now)
            if immediate:
                if batch:
                    self._compute_now(batch)
            elif batch:
                self._start(_Batch(batch), now)
            else:
                admission.leave()
            if not batch:
                self._wake(now)
                break
        fresh, self._fresh = self._fresh, []
        for item in fresh:
            if item.group is not None:
                item.waited = True
                self._live[id(item.call)] = LiveCall(item.call, item.arrived, item.deadline)
                self._arm(item)

    def _stand(self) -> None:
        """Stand in the line for a slot, in the name of the highest of those that wait."""
        first = self._groups.first()
        if self._stands:
            if first.rank >= self.rank:
                return
            self._admission.step_out(self)
        self._stands, self.rank, self.arrived = True, first.rank, first.arrived
        self._admission.stand(self)

    def take(self, *, by_age: bool) -> bool:
        """See :class:`pillion.dataplane.line.InLine`."""
        self._stands = False
        if self._served.executor.immediate:  # since it began to stand there
            asyncio.get_running_loop().call_soon(self.flush)
            return False
        now = self._clock()
        batch = self._groups.next(now, by_age=by_age)
        if not batch:
            self._wake(now)
            return False
        self._start(_Batch(batch), now)
        if self._groups.waiting:
            self._stand()
        return True

    def fail_waiting(self, error: Callable[[], PillionError]) -> None:
        """End every waiting request with an error of its own."""
        for item in self._groups.places():
            item.give_up(error())

    def _wake(self, now: float) -> None:
        """Look again when those are due that wait for others."""
        due = self._groups.due
        if due is None:
            return
        if self._delayed is not None:
            self._delayed.cancel()
        self._delayed = asyncio.get_running_loop().call_later(max(0.0, due - now), self.flush)

    def _arm(self, item: Item) -> None:
        """From now on its deadline is watched: the call, or the wait for one, may outlast it."""
        if item.deadline is not None and item.timer is None:
            seconds = max(0.0, item.deadline - self._clock())
            item.timer = asyncio.get_running_loop().call_later(seconds, self._expire, item)

    def _expire(self, item: Item) -> None:
        item.fail(deadline_exceeded("while the model was running" if item.group is None else _WAITING))

    def _compute_now(self, items: list[Item]) -> None:
        """On the event loop."""
        started = self._clock()
        try:
            results = _driven(self._served.executor.run(self._served.model, *_call(items), None))
        except BaseException as error:  # noqa: BLE001 - it belongs to the requests, whatever it is
            if len(items) == 1:
                self._failed(items[0], error, started)
                return
            half = len(items) // 2
            self._again(items[:half])
            self._again(items[half:])
            return
        if not self._hand_out(items, results, started):
            for item in items:
                self._again([item])

    def _again(self, items: list[Item]) -> None:
        """Part of a batch, on the event loop unless the call before has moved the model elsewhere."""
        if self._served.executor.immediate:
            self._compute_now(items)
        else:
            self._admission.running += 1
            self._start(_Batch(items), self._clock())

    def _start(self, batch: _Batch, now: float) -> None:
        """Elsewhere, in a slot that is counted already."""
        self.extra += len(batch.items) - 1
        for item in batch.items:
            item.batch = batch
            self._live[id(item.call)] = LiveCall(item.call, item.arrived, item.deadline, now)
            self._arm(item)
            if item.waited:
                self._metrics.queue_wait.observe(now - item.arrived)
        task = batch.task = asyncio.get_running_loop().create_task(self._compute(batch.items))
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
        self._admission.leave()  # to whose turn it is

    async def _compute(self, items: list[Item], deaths: int = 0) -> None:
        """In one call; ``deaths``: worker processes that ended over it before."""
        items = [item for item in items if not item.future.done()]
        if not items:
            return
        started = self._clock()
        deadlines = [item.deadline for item in items]
        latest = None if None in deadlines else max(deadline for deadline in deadlines if deadline is not None)
        run = self._run_once if deaths or len(items) > 1 else self._served.executor.run
        try:
            results = await run(self._served.model, *_call(items), None if latest is None else latest - started)
        except DeadlinePassedError:
            for item in items:
                item.fail(deadline_exceeded("while the model was running"))
            return
        except asyncio.CancelledError:
            raise
        except BaseException as raised:  # noqa: BLE001 - as above
            error = raised
            if isinstance(error, WorkerDiedError):
                deaths += error.deaths
                error = WorkerDiedError(error.label, deaths, again=error.again)
            parts = _parts(items, error)
            if not parts:
                for item in items:
                    self._failed(item, error, started)
            for part in parts:
                await self._compute(part, deaths)
            return
        if not self._hand_out(items, results, started):
            for item in items:
                await self._compute([item])

    def _failed(self, item: Item, error: BaseException, started: float) -> None:
        """The model's code failed for this request."""
        if item.call.times is not None:
            item.call.times.shared(item.arrived, started, self._clock(), 1)
        item.fail(error)

    def _hand_out(self, items: list[Item], results: list[Tensor], started: float) -> bool:
        """Give each request its share; False when the results cannot be told apart."""
        count = len(items)
        shares = [results] if count == 1 else apart(results, [item.rows for item in items])
        if shares is None:
            self._groups.mixes = False
            desired = self._served.desired
            _log.warning(
                "model %s/%s: its results have not one row for each row it is given; requests no longer share calls",
                desired.name,
                desired.version,
            )
            return False
        ended = self._clock()
        elapsed = ended - started
        self._admission.rate.add_shared(elapsed, count)
        self._metrics.inference.observe(elapsed, count)
        self._metrics.batch_size.observe(count)
        for item, share in zip(items, shares, strict=True):
            if item.call.times is not None:
                item.call.times.shared(item.arrived, started, ended, count)
            if not item.future.done():
                item.future.set_result(share)
        return True


def _parts(items: list[Item], error: BaseException) -> list[list[Item]]:
    """In what parts the requests of a failed call are tried again; none where that would not help."""
    code = error.code if isinstance(error, PillionError) else None
    if len(items) == 1 or code is ErrorCode.NOT_READY:
        return []
    if isinstance(error, WorkerDiedError):  # one of them is at fault, and would end a worker each time they are divided
        return [[item] for item in items] if error.again else []
    half = len(items) // 2
    return [items[:half], items[half:]]


def _late(item: Item) -> None:
    item.fail(deadline_exceeded(_WAITING))


def _call(items: list[Item]) -> tuple[Sequence[Tensor | None], tuple[str, ...]]:
    first = items[0]
    if len(items) == 1:
        return first.inputs, first.outputs
    return together([item.inputs for item in items]), first.outputs


def _driven(call: Coroutine[Any, Any, list[Tensor]]) -> list[Tensor]:
    """The result of a call that runs at once."""
    try:
        call.send(None)
    except StopIteration as finished:
        result: list[Tensor] = finished.value
        return result
    call.close()
    raise RuntimeError("an immediate executor waited")
