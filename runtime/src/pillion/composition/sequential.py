"""``pillion.Sequential``: one step after another."""

from __future__ import annotations

from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pillion.composition.composition import Composition
from pillion.composition.errors import CompositionError
from pillion.composition.hints import fits, shown
from pillion.composition.step import as_step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pillion.composition.session import FlowCall

__all__ = ["Sequential"]


class Sequential(Composition):
    """Each step is called with what the one before it gave.

    A step that yields makes it stream: the steps after that one are called with each of its items, as they come.

    Args:
        steps: functions, plain or ``async``, or generators; classes or instances of models; methods; other
            compositions; ``("name", step)`` to name one.
        name: in metrics and messages, and of the task that it is served as.

    Raises:
        CompositionError: what a step gives is not what the next one takes.
    """

    kind = "sequential"

    def __init__(self, *steps: object, name: str = "sequential") -> None:
        super().__init__(name)
        if not steps:
            raise CompositionError("Sequential: name its steps")
        self.children = tuple(map(as_step, steps))
        for one, following in pairwise(self.children):
            if not fits(one.gives, following.takes):
                raise CompositionError(
                    f"{name}: step {one.name!r} gives {shown(one.gives)}, and {following.name!r} takes"
                    f" {shown(following.takes)}"
                )
        first = self.children[0]
        self.takes, self.parameter = first.takes, first.parameter
        self.gives = self.children[-1].gives
        self.streams = any(step.streams for step in self.children)

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as the steps declare
        """See :class:`~pillion.composition.step.Step`."""
        for step in self.children:
            value = await step.perform(value, call)
        return value

    async def yielding(self, value: Any, call: FlowCall) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        """See :class:`~pillion.composition.step.Step`."""
        async with aclosing(self._from(0, value, call)) as items:  # type: ignore[type-var]  # an async generator
            async for item in items:
                yield item

    async def _from(self, place: int, value: Any, call: FlowCall) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        for number in range(place, len(self.children)):
            step = self.children[number]
            if step.streams:
                async with aclosing(step.flowing(value, call)) as given:  # type: ignore[type-var]  # as above
                    async for one in given:
                        async with aclosing(self._from(number + 1, one, call)) as items:  # type: ignore[type-var]  # as above
                            async for item in items:
                                yield item
                return
            value = await step.perform(value, call)
        yield value
