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
from typing import TYPE_CHECKING, Any

from pillion.dataplane.gathering import Company, Groups, Item
from pillion.dataplane.shared_calls import SharedCalls
from pillion.errors import ErrorCode, PillionError
from pillion.execution.api import DeadlinePassedError, WorkerDiedError
from pillion.execution.batch import apart, together

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pillion.dataplane.admission import Admission
    from pillion.dataplane.gathering import BatchLimits, Gathering
    from pillion.dataplane.live import LiveCall
    from pillion.metrics import ModelMetrics
    from pillion.repository.served import Served
    from pillion.tensors import Tensor

__all__ = ["Batcher"]

_log = logging.getLogger(__name__)


class Batcher(SharedCalls[Item]):
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
        self._groups = Groups(limits, ranked=admission.ranks.count > 1)
        super().__init__(served, admission, self._groups, metrics, clock, live, admission.leave)
        self._run_once = getattr(served.executor, "run_once", served.executor.run)
        self._limits = limits
        self._gathering = gathering
        self._company = Company()
        self._most = max(admission.max_queue, limits.rows)
        """Requests that may wait for others although the model is free."""

    @property
    def needless(self) -> bool:
        """Whether a request that begins now is computed at once and alone."""
        if self._groups.waiting or self._limits.delay_seconds or not self._served.executor.immediate:
            return False
        gathering = self._gathering
        return gathering.lone or (not gathering.begun and self._company.alone())

    def _announce(self) -> None:
        self._gathering.announce(self)

    def _must_wait(self) -> bool:
        admission = self._admission
        if admission.running >= admission.capacity and not self._served.executor.immediate:
            return True
        return bool(self._limits.delay_seconds) and self._groups.waiting >= self._most

    def _immediate(self) -> bool:
        return self._served.executor.immediate

    def _compute_now(self, items: list[Item]) -> None:
        """On the event loop."""
        self._company.computed(len(items))
        prepared = started = self._clock()
        try:
            given = _call(items)
            prepared = self._clock()
            results = _driven(self._served.executor.run(self._served.model, *given, None))
        except BaseException as error:  # noqa: BLE001 - it belongs to the requests, whatever it is
            if len(items) == 1:
                self._failed(items[0], error, started)
                return
            half = len(items) // 2
            self._again(items[:half])
            self._again(items[half:])
            return
        if not self._share_out(items, results, started, prepared):
            for item in items:
                self._again([item])

    def _again(self, items: list[Item]) -> None:
        """Part of a batch, on the event loop unless the call before has moved the model elsewhere."""
        if self._served.executor.immediate:
            self._compute_now(items)
        else:
            self._admission.running += 1
            self._start(items, self._clock())

    async def _compute(self, items: list[Item], deaths: int = 0) -> None:
        """In one call; ``deaths``: worker processes that ended over it before."""
        items = [item for item in items if not item.future.done()]
        if not items:
            return
        prepared = started = self._clock()
        run = self._run_once if deaths or len(items) > 1 else self._served.executor.run
        try:
            given = _call(items)
            prepared = self._clock()
            results = await run(self._served.model, *given, self._seconds(items, started))
        except DeadlinePassedError:
            self._left_out(items)
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
        if not self._share_out(items, results, started, prepared):
            for item in items:
                await self._compute([item])

    def _failed(self, item: Item, error: BaseException, started: float) -> None:
        """The model's code failed for this request."""
        if item.call.times is not None:
            item.call.times.shared(item.arrived, started, self._clock(), 1)
        item.fail(error)

    def _share_out(self, items: list[Item], results: list[Tensor], started: float, prepared: float) -> bool:
        """Give each request its share; False when the results cannot be told apart."""
        computed = self._clock()
        shares = [results] if len(items) == 1 else apart(results, [item.rows for item in items])
        if shares is None:
            self._groups.mixes = False
            desired = self._served.desired
            _log.warning(
                "model %s/%s: its results have not one row for each row it is given; requests no longer share calls",
                desired.name,
                desired.version,
            )
            return False
        self._hand_out(items, shares, started, prepared, computed)
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
