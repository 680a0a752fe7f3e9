"""Calls of a task whose method takes many at once wait here for the model to be free, and then go together.

As for tensors (:mod:`pillion.dataplane.batching`) no timer decides: what was asked for in one turn of the event loop,
or while all slots were taken, is one call of the method, as far as it has room. When the method raises, its calls are
tried again in halves, so that the one at fault fails alone; an exception among its results fails only that one, and
nothing is tried again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from pillion.dataplane.shared_calls import SharedCalls, SharedItem, due_at
from pillion.errors import ErrorCode, PillionError
from pillion.execution.api import DeadlinePassedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pillion.authoring.batches import Batch
    from pillion.authoring.signature import TaskSignature
    from pillion.backends.api import BatchRun
    from pillion.dataplane.admission import Admission
    from pillion.dataplane.call import Call
    from pillion.dataplane.live import LiveCall
    from pillion.dataplane.nested import OwnCode
    from pillion.metrics import ModelMetrics
    from pillion.repository.served import Served

__all__ = ["TaskBatcher", "TaskItem"]

_FINAL: Final = frozenset({ErrorCode.NOT_READY, ErrorCode.MODEL_FAILED})
"""Failures that trying again would not mend."""


class TaskItem(SharedItem):
    """One call of the task."""

    __slots__ = ("arguments",)

    def __init__(self, arguments: Mapping[str, Any], deadline: float | None, arrived: float, call: Call) -> None:
        super().__init__(deadline, arrived, call)
        self.arguments = arguments


class _Waits:
    """Calls that wait (see :class:`~pillion.dataplane.shared_calls.Waits`): those whose options are equal go together.

    Args:
        options: the parameters that are not lists of the method.
        limits: of one call.
        ranked: whether there are priorities.
    """

    def __init__(self, options: tuple[str, ...], limits: Batch, *, ranked: bool) -> None:
        self._options = options
        self._limits = limits
        self._ranked = ranked
        self._items: OrderedDict[TaskItem, None] = OrderedDict()
        self.due: float | None = None

    @property
    def waiting(self) -> int:
        return len(self._items)

    def add(self, item: TaskItem) -> None:
        self._items[item] = None
        item.waits = self

    def take(self, item: TaskItem) -> None:
        del self._items[item]
        item.waits = None

    def places(self) -> Iterable[TaskItem]:
        return list(self._items)

    def first(self) -> TaskItem:
        return min(self._items, key=lambda item: item.rank)  # of equals the first

    def next(self, now: float, *, by_age: bool = False) -> list[TaskItem]:
        self.due = None
        limits = self._limits
        if limits.max_delay_seconds and 0 < len(self._items) < limits.max_size:
            due = due_at(self._items, limits.max_delay_seconds)
            if due > now:
                self.due = due
                return []
        chosen: list[TaskItem] = []
        options: dict[str, Any] = {}
        by_rank = self._ranked and not by_age
        for item in sorted(self._items, key=lambda item: item.rank) if by_rank else list(self._items):
            if item.gone(now):
                continue
            own = {name: item.arguments[name] for name in self._options if name in item.arguments}
            if not chosen:
                options = own
            elif not _same(options, own):
                continue
            self.take(item)
            chosen.append(item)
            if len(chosen) == limits.max_size:
                break
        return chosen


class TaskBatcher(SharedCalls[TaskItem]):
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
        begin: makes one call of many.
        own: makes calls of code that may call other models.
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
        begin: Callable[[list[Mapping[str, Any]]], BatchRun],
        own: OwnCode | None = None,
    ) -> None:
        options = tuple(one.name for one in task.parameters if one.name not in task.items)
        waits = _Waits(options, limits, ranked=admission.ranks.count > 1)
        super().__init__(served, admission, waits, metrics, clock, live, leave)
        self._begin = begin
        self._own = own

    def _announce(self) -> None:
        asyncio.get_running_loop().call_soon(self.flush)

    def _must_wait(self) -> bool:
        return self._admission.running >= self._admission.capacity

    async def _compute(self, items: list[TaskItem]) -> None:
        items = [item for item in items if not item.future.done()]
        if not items:
            return
        started = self._clock()
        run = self._begin([item.arguments for item in items])
        own = None if self._own is None else self._own.shared(run, items)
        prepared = self._clock()
        try:
            await self._served.executor.run(own or run, (), (), self._seconds(items, started))
        except DeadlinePassedError:
            self._left_out(items)
            return
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the callers, whatever it is
            if len(items) == 1 or (isinstance(error, PillionError) and error.code in _FINAL):
                for item in items:
                    item.fail(error)
                return
            half = len(items) // 2
            await self._compute(items[:half])
            await self._compute(items[half:])
            return
        finally:
            if own is not None:
                own.end()
        self._hand_out(items, run.values, started, prepared, self._clock())


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two calls have the same options. What cannot be compared, such as arrays, is not the same."""
    if one.keys() != other.keys():
        return False
    try:
        return all(value is other[name] or bool(value == other[name]) for name, value in one.items())
    except Exception:  # noqa: BLE001 - whatever __eq__ of a user's class raises
        return False
