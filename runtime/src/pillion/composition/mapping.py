"""``pillion.Map``: one step for each item of a list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pillion.arguments import check_count
from pillion.composition.composition import Composition
from pillion.composition.errors import CompositionError, MapError, checked
from pillion.composition.step import as_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.composition.session import FlowCall

__all__ = ["Map"]


class Map(Composition):
    """A step is called with each item of a list; the answers have the items' order.

    Args:
        step: as of :class:`~pillion.Sequential`; it must not yield.
        concurrency: items that are in progress at a time.
        name: as of :class:`~pillion.Sequential`.

    Raises:
        CompositionError: the step yields, or nothing may be in progress.
        MapError: when called: an item failed. The others are cancelled; it has the answers that there were.
    """

    kind = "map"
    parameter = "items"

    def __init__(self, step: object, *, concurrency: int = 8, name: str = "map") -> None:
        super().__init__(name)
        with checked(name):
            check_count("concurrency", concurrency, "items in progress")
        self._step = as_step(step)
        if self._step.streams:
            raise CompositionError(f"{name}: step {self._step.name!r} yields: have it return a list")
        self.concurrency = concurrency
        self.children = (self._step,)
        self.takes = list[self._step.takes]  # type: ignore[name-defined]  # a hint that is made here
        self.gives = list[self._step.gives]  # type: ignore[name-defined]  # as above

    async def run(self, value: Any, call: FlowCall) -> list[Any]:  # noqa: ANN401 - whatever can be iterated
        """See :class:`~pillion.composition.step.Step`."""
        if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
            raise TypeError(f"{self.name} takes a list, not {type(value).__name__}")
        left = enumerate(value)
        answers: dict[int, Any] = {}
        failures: dict[int, BaseException] = {}
        loop = asyncio.get_running_loop()
        workers = {loop.create_task(self._work(left, answers, failures, call)) for _ in range(self.concurrency)}
        pending = workers
        try:
            while pending and not failures:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # an exception of who iterates, not of an item
        finally:
            call.session.leave(pending)
        if failures:
            raise MapError(self.name, answers, failures) from next(iter(failures.values()))
        return [answers[place] for place in sorted(answers)]

    async def _work(
        self,
        left: Iterator[tuple[int, Any]],
        answers: dict[int, Any],
        failures: dict[int, BaseException],
        call: FlowCall,
    ) -> None:
        for place, item in left:
            try:
                answers[place] = await self._step.perform(item, call)
            except Exception as error:  # noqa: BLE001 - raised for the whole list
                failures[place] = error
            if failures:
                return
