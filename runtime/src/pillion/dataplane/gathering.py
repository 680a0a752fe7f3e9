"""Requests that wait to share calls of a model: what waits. What runs is in :mod:`pillion.dataplane.batching`.

Requests wait in groups of those that fit together. Groups take turns, and so do the hosts that requests of one group
come from, where not all fit into the next call; where there are priorities, the highest goes first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from pillion.dataplane.shared_calls import SharedItem, due_at
from pillion.execution.batch import in_turns, signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pillion.dataplane.call import Call
    from pillion.tensors import Tensor

__all__ = ["BatchLimits", "Company", "Gathering", "Groups", "Item"]

_ALONE: Final = 1 << 62
"""A size that no batch has room for beside it."""
_LOOKED_AT: Final = 64
"""Calls by which it is judged whether requests find others."""
_HARDLY: Final = 1.15
"""Requests in a call, on average, up to which they do not."""
_LEFT_ALONE: Final = 1024
"""Requests until they are looked at again."""


class BatchLimits(msgspec.Struct, frozen=True):
    """When a batch is full, and how long it may wait to be."""

    rows: int = 32
    bytes: int = 4 * 1024 * 1024
    """Of the inputs. Beyond some megabytes copying them together costs more than a call."""
    delay_seconds: float = 0.0
    """How long a request waits for others although the model is free."""


class _Flushed(Protocol):
    def flush(self) -> None: ...


class Gathering:
    """When what waits in the batchers of a data plane is computed: at the end of each turn of the event loop.

    A transport that begins several requests in a row says so (:meth:`begin`) and ends the turn itself (:meth:`flush`).
    """

    __slots__ = ("_waiting", "begun", "lone")

    def __init__(self) -> None:
        self._waiting: list[_Flushed] = []
        self.begun = False
        """Whether a transport is beginning requests that it has counted."""
        self.lone = False
        """Whether the request that begins now is the only one of its turn."""

    def begin(self, requests: int) -> None:
        """So many requests are about to begin; :meth:`flush` follows."""
        self.begun = True
        self.lone = requests == 1

    def announce(self, batcher: _Flushed) -> None:
        """Something waits there for the end of the turn."""
        if not self.begun and not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(batcher)

    def flush(self) -> None:
        """The turn ends."""
        self.begun = self.lone = False
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for batcher in waiting:
                batcher.flush()


class Company:
    """Whether requests that nobody has counted find others in their turn, by the turns before.

    Where they hardly do, as with a library that brings them to the event loop one by one, waiting for the end of the
    turn costs each a future and gains nothing: they are told not to, for a while, and then looked at again.
    """

    __slots__ = ("_alone", "_calls", "_requests")

    def __init__(self) -> None:
        self._calls = self._requests = 0
        self._alone = 0
        """Requests that need not look for others any more."""

    def computed(self, requests: int) -> None:
        """So many were computed in one call, at the end of their turn."""
        self._calls += 1
        self._requests += requests
        if self._calls == _LOOKED_AT:
            self._alone = _LEFT_ALONE if self._requests <= _LOOKED_AT * _HARDLY else 0
            self._calls = self._requests = 0

    def alone(self) -> bool:
        """Whether one that begins now need not wait for others."""
        if not self._alone:
            return False
        self._alone -= 1
        return True


class Item(SharedItem):
    """One request on its way through a batch."""

    __slots__ = ("group", "inputs", "outputs", "rows", "size")

    def __init__(
        self,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        deadline: float | None,
        arrived: float,
        call: Call,
    ) -> None:
        super().__init__(deadline, arrived, call)
        self.inputs = inputs
        self.outputs = outputs
        self.rows = 0
        self.size = 0
        self.group: object = None
        """What it waits with."""


class Groups:
    """What waits for one model.

    Args:
        limits: of one call.
        ranked: whether there are priorities.
    """

    __slots__ = ("_groups", "_limits", "_ranked", "due", "mixes", "waiting")

    def __init__(self, limits: BatchLimits, *, ranked: bool) -> None:
        self._limits = limits
        self._ranked = ranked
        self._groups: OrderedDict[object, OrderedDict[Item, None]] = OrderedDict()
        self.mixes = True
        """Whether requests may be put together at all."""
        self.waiting = 0
        """How many wait."""
        self.due: float | None = None
        """When those are due that :meth:`next` has left waiting for others; monotonic seconds."""

    def add(self, item: Item) -> None:
        """One more waits."""
        key: object = signature(item.inputs, item.outputs) if self.mixes else None
        if key is None:
            key = item  # of its own kind
            item.rows, item.size = _ALONE, _ALONE
        else:
            for tensor in item.inputs:
                if tensor is not None:
                    item.rows = tensor.data.shape[0]
                    item.size += tensor.data.nbytes
        item.group, item.waits = key, self
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = OrderedDict()
        group[item] = None
        self.waiting += 1

    def take(self, item: Item) -> None:
        """One waits no more."""
        group = self._groups[item.group]
        del group[item]
        if not group:
            del self._groups[item.group]
        item.waits = None
        self.waiting -= 1

    def places(self) -> Iterable[Item]:
        """Everybody who waits."""
        return [item for group in self._groups.values() for item in group]

    def first(self) -> Item:
        """In whose name a slot is asked for; there is somebody."""
        if self._ranked:
            return min(self.places(), key=lambda item: (item.rank, item.arrived))
        return next(iter(next(iter(self._groups.values()))))

    def next(self, now: float, *, by_age: bool = False) -> list[Item]:
        """Take out those that are computed together next; none while none is due.

        Args:
            now: monotonic seconds.
            by_age: who has waited longest goes first, whatever its rank.
        """
        limits = self._limits
        self.due = None
        groups = self._groups
        for key, group in self._ordered(by_age) if self._ranked else list(groups.items()):
            if limits.delay_seconds and key is not next(iter(group)):
                due = due_at(group, limits.delay_seconds)
                if due > now and sum(item.rows for item in group) < limits.rows:
                    self.due = due if self.due is None else min(self.due, due)
                    continue
            if self._ranked or len(group) > limits.rows:
                chosen = self._fill(self._sequence(group, by_age), now)
            else:
                chosen = self._fill(list(group), now)
            if group:  # what is left waits behind the other kinds
                groups.move_to_end(key)
            if chosen:
                return chosen
        return []

    def _ordered(self, by_age: bool) -> list[tuple[object, OrderedDict[Item, None]]]:  # noqa: FBT001 - as in next
        """The groups in the order in which they are looked at, where there are priorities."""
        groups = list(self._groups.items())
        if by_age:
            return sorted(groups, key=lambda entry: next(iter(entry[1])).arrived)
        return sorted(groups, key=lambda entry: min(item.rank for item in entry[1]))

    def _fill(self, items: list[Item], now: float) -> list[Item]:
        """As many of those of one group as fit into a call."""
        chosen: list[Item] = []
        rows = size = 0
        for item in items:
            if item.gone(now):
                continue
            if chosen and (rows + item.rows > self._limits.rows or size + item.size > self._limits.bytes):
                break
            self.take(item)
            chosen.append(item)
            rows += item.rows
            size += item.size
        return chosen

    def _sequence(self, group: OrderedDict[Item, None], by_age: bool) -> list[Item]:  # noqa: FBT001 - as in next
        """In what order the requests of a group go."""
        if by_age:
            return list(group)
        # Who sends many must not keep who sends few waiting; where all fit there is nothing to be shared out.
        items = list(group) if len(group) <= self._limits.rows else in_turns(group, lambda item: item.host)
        return sorted(items, key=lambda item: item.rank) if self._ranked else items
