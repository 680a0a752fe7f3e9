"""Requests that wait for one model share its calls.

A batch starts when the model is free, not when a timer fires: for a model on the event loop at the end of the turn in
which its requests arrived, for one in threads also whenever a call ends. So a request that comes alone waits for
nothing, and the more wait, the more go together. What is put together is decided by :mod:`pillion.execution.batch`, how
much of it by :class:`BatchLimits`; kinds of requests that do not fit together take turns, and so do the hosts that
requests of one kind come from, where not all fit into the next call.

A request that is cancelled or whose deadline passes leaves its batch before the call. When a call fails, its requests
are tried again in halves, so that the one at fault fails alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.dataplane.admission import deadline_exceeded
from pillion.dataplane.live import LiveCall
from pillion.errors import ErrorCode, PillionError
from pillion.execution.api import DeadlinePassedError
from pillion.execution.batch import apart, in_turns, signature, together

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pillion.dataplane.admission import Admission
    from pillion.dataplane.call import Call
    from pillion.metrics import ModelMetrics
    from pillion.repository.served import Served
    from pillion.tensors import Tensor

__all__ = ["BatchLimits", "Batcher", "Gathering", "Item"]

_log = logging.getLogger(__name__)
_ALONE: Final = 1 << 62
"""A size that no batch has room for beside it."""


class BatchLimits(msgspec.Struct, frozen=True):
    """When a batch is full, and how long it may wait to be."""

    rows: int = 32
    bytes: int = 4 * 1024 * 1024
    """Of the inputs. Beyond some megabytes copying them together costs more than a call."""
    delay_seconds: float = 0.0
    """How long a request waits for others although the model is free."""


class Gathering:
    """When what waits in the batchers of a data plane is computed: at the end of each turn of the event loop.

    A transport that begins several requests in a row says so (:meth:`begin`) and ends the turn itself (:meth:`flush`).
    """

    __slots__ = ("_begun", "_waiting", "lone")

    def __init__(self) -> None:
        self._waiting: list[Batcher] = []
        self._begun = False
        self.lone = False
        """Whether the request that begins now is the only one of its turn."""

    def begin(self, requests: int) -> None:
        """So many requests are about to begin; :meth:`flush` follows."""
        self._begun = True
        self.lone = requests == 1

    def announce(self, batcher: Batcher) -> None:
        """Something waits there for the end of the turn."""
        if not self._begun and not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(batcher)

    def flush(self) -> None:
        """The turn ends."""
        self._begun = self.lone = False
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for batcher in waiting:
                batcher.flush()


class Item:
    """One request on its way through a batch."""

    __slots__ = (
        "arrived", "batch", "call", "deadline", "future", "group", "inputs", "outputs", "rows", "size", "timer",
        "waited",
    )  # fmt: skip

    def __init__(
        self,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        deadline: float | None,
        arrived: float,
        call: Call,
    ) -> None:
        self.call = call
        self.future: asyncio.Future[list[Tensor]] = asyncio.get_running_loop().create_future()
        self.inputs = inputs
        self.outputs = outputs
        self.deadline = deadline
        self.arrived = arrived
        self.rows = 0
        self.size = 0
        self.group: object = None
        """What it waits with; None once it is on its way."""
        self.batch: _Batch | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waited = False
        """Whether it found the model busy."""


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
        self._admission = admission
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._gathering = gathering
        self._live = live
        self._groups: OrderedDict[object, OrderedDict[Item, None]] = OrderedDict()
        self._fresh: list[Item] = []
        self._due = False
        self._delayed: asyncio.TimerHandle | None = None
        self._mixes = True
        self._running: dict[asyncio.Task[None], _Batch] = {}
        self.extra = 0
        """Requests that share the slot of another one."""

    def add(self, item: Item) -> None:
        """Have one request computed with others; await its ``future``, and call :meth:`left` when nobody does any more.

        Raises:
            PillionError: ``QUEUE_FULL`` at once.
        """
        admission = self._admission
        if admission.running >= admission.capacity and not self._served.executor.immediate:
            admission.refuse_if_hopeless(item.deadline)
        key: object = signature(item.inputs, item.outputs) if self._mixes else None
        if key is None:
            key = item  # of its own kind
            item.rows, item.size = _ALONE, _ALONE
        else:
            for tensor in item.inputs:
                if tensor is not None:
                    item.rows = tensor.data.shape[0]
                    item.size += tensor.data.nbytes
        item.group = key
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = OrderedDict()
        group[item] = None
        self._fresh.append(item)
        admission.gathered += 1
        if not self._due:
            self._due = True
            self._gathering.announce(self)

    @property
    def needless(self) -> bool:
        """Whether a request that begins now would be computed at once and alone."""
        return (
            self._gathering.lone
            and not self._groups
            and not self._limits.delay_seconds
            and self._served.executor.immediate
        )

    def left(self, item: Item) -> None:
        """Nobody waits for this request any more: it was answered, given up, or ran out of time."""
        if item.timer is not None:
            item.timer.cancel()
        if item.group is not None:
            self._take(item)
        elif item.batch is not None:
            batch, item.batch = item.batch, None
            batch.left -= 1
            if not batch.left and batch.task is not None:
                batch.task.cancel()

    def flush(self) -> None:
        """Compute what waits, as far as the model is free."""
        self._due = False
        admission = self._admission
        executor = self._served.executor
        while self._groups:
            now = self._clock()
            immediate = executor.immediate
            if not immediate and admission.running >= admission.capacity:
                break
            batch = self._next(now)
            if batch is None:
                break
            if immediate:
                self._compute_now(batch)
            else:
                self._start(_Batch(batch), now)
        fresh, self._fresh = self._fresh, []
        for item in fresh:
            if item.group is not None:
                item.waited = True
                self._live[id(item.call)] = LiveCall(item.call, item.arrived, item.deadline)
                self._arm(item)

    def fail_waiting(self, error: Callable[[], PillionError]) -> None:
        """End every waiting request with an error of its own."""
        for group in list(self._groups.values()):
            for item in list(group):
                self._take(item)
                _fail(item, error())

    def _take(self, item: Item) -> None:
        """Out of what waits."""
        group = self._groups[item.group]
        del group[item]
        if not group:
            del self._groups[item.group]
        item.group = None
        self._admission.gathered -= 1

    def _next(self, now: float) -> list[Item] | None:
        """The next requests to be computed together; None while none is due."""
        limits = self._limits
        soonest: float | None = None
        for key, group in list(self._groups.items()):
            if limits.delay_seconds and key is not next(iter(group)):
                due = next(iter(group)).arrived + limits.delay_seconds
                due = min([due, *(item.deadline for item in group if item.deadline is not None)])
                if due > now and sum(item.rows for item in group) < limits.rows:
                    soonest = due if soonest is None else min(soonest, due)
                    continue
            chosen = self._fill(group, now)
            if group:  # what is left waits behind the other kinds
                self._groups.move_to_end(key)
            if chosen:
                return chosen
        if soonest is not None:
            self._wake(soonest - now)
        return None

    def _fill(self, group: OrderedDict[Item, None], now: float) -> list[Item]:
        chosen: list[Item] = []
        rows = size = 0
        # Who sends many must not keep who sends few waiting; where all fit there is nothing to be shared out.
        waiting = list(group) if len(group) <= self._limits.rows else in_turns(group, _client)
        for item in waiting:
            if item.future.done():
                self._take(item)
                continue
            if item.deadline is not None and item.deadline <= now:
                self._take(item)
                _fail(item, deadline_exceeded("while the request was waiting in the queue"))
                continue
            if chosen and (rows + item.rows > self._limits.rows or size + item.size > self._limits.bytes):
                break
            self._take(item)
            chosen.append(item)
            rows += item.rows
            size += item.size
        return chosen

    def _wake(self, seconds: float) -> None:
        if self._delayed is not None:
            self._delayed.cancel()
        self._delayed = asyncio.get_running_loop().call_later(max(0.0, seconds), self.flush)

    def _arm(self, item: Item) -> None:
        """From now on its deadline is watched: the call, or the wait for one, may outlast it."""
        if item.deadline is not None and item.timer is None:
            seconds = max(0.0, item.deadline - self._clock())
            item.timer = asyncio.get_running_loop().call_later(seconds, self._expire, item)

    def _expire(self, item: Item) -> None:
        where = "while the model was running" if item.group is None else "while the request was waiting in the queue"
        _fail(item, deadline_exceeded(where))

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
            self._start(_Batch(items), self._clock())

    def _start(self, batch: _Batch, now: float) -> None:
        """Elsewhere, in a slot."""
        self._admission.running += 1
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
                _fail(item, failure)
        self.extra -= len(batch.items) - 1
        self._admission.leave()  # to a task of the same model, where one waits
        self.flush()

    async def _compute(self, items: list[Item]) -> None:
        items = [item for item in items if not item.future.done()]
        if not items:
            return
        started = self._clock()
        deadlines = [item.deadline for item in items]
        latest = None if None in deadlines else max(deadline for deadline in deadlines if deadline is not None)
        try:
            results = await self._served.executor.run(
                self._served.model, *_call(items), None if latest is None else latest - started
            )
        except DeadlinePassedError:
            for item in items:
                _fail(item, deadline_exceeded("while the model was running"))
            return
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            parts = _parts(items, error)
            if not parts:
                for item in items:
                    self._failed(item, error, started)
            for part in parts:
                await self._compute(part)
            return
        if not self._hand_out(items, results, started):
            for item in items:
                await self._compute([item])

    def _failed(self, item: Item, error: BaseException, started: float) -> None:
        """The model's code failed for this request."""
        if item.call.times is not None:
            item.call.times.shared(item.arrived, started, self._clock(), 1)
        _fail(item, error)

    def _hand_out(self, items: list[Item], results: list[Tensor], started: float) -> bool:
        """Give each request its share; False when the results cannot be told apart."""
        count = len(items)
        shares = [results] if count == 1 else apart(results, [item.rows for item in items])
        if shares is None:
            self._mixes = False
            desired = self._served.desired
            _log.warning(
                "model %s/%s: its results have not one row for each row it is given; requests no longer share calls",
                desired.name,
                desired.version,
            )
            return False
        ended = self._clock()
        elapsed = ended - started
        self._admission.rate.add(elapsed / count)
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
    if code is ErrorCode.MODEL_FAILED:  # it has ended a worker process, and would end one for each time it is divided
        return [[item] for item in items]
    half = len(items) // 2
    return [items[:half], items[half:]]


def _client(item: Item) -> str:
    """The host that a request came from; empty where it is not known."""
    client = item.call.client
    return "" if client is None else client().rpartition(":")[0]


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


def _fail(item: Item, error: BaseException) -> None:
    if not item.future.done():
        # A future refuses StopIteration, and SystemExit would pass for one of the server's own.
        usual = isinstance(error, Exception) and not isinstance(error, StopIteration)
        item.future.set_exception(error if usual else RuntimeError(f"{type(error).__name__}: {error}"))
