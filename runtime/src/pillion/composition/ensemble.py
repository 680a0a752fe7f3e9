"""``pillion.Ensemble``: several steps beside each other, given the same value."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from pillion.composition.composition import Composition
from pillion.composition.errors import CompositionError, EnsembleError
from pillion.composition.hints import common, fits, shown
from pillion.composition.step import Step, as_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.composition.session import FlowCall

__all__ = ["Answers", "Ensemble"]


class Answers(dict[str, Any]):
    """What the members of an ensemble answered, by their names, in their order.

    Attributes:
        failures: what others raised, by name.
        unfinished: members that were cancelled, because enough had answered.
    """

    def __init__(
        self, answers: dict[str, Any], failures: dict[str, BaseException], unfinished: tuple[str, ...]
    ) -> None:
        super().__init__(answers)
        self.failures = failures
        self.unfinished = unfinished


class Ensemble(Composition):
    """All members are called with the same value, at the same time.

    Args:
        members: as the steps of :class:`~pillion.Sequential`.
        require: how many have to answer: ``"all"`` of them; ``"first"``, whose answer is the ensemble's; or a number
            N. As soon as they have, or can no longer, the others are cancelled.
        combine: is called with the :class:`Answers` and gives the ensemble's answer. Without it that is the answers
            themselves, by the names of the members.
        name: as of :class:`~pillion.Sequential`.

    Raises:
        CompositionError: a member yields, or takes something else than the others.
        EnsembleError: when called: too few answered. It has all answers and failures.
    """

    kind = "ensemble"

    def __init__(
        self,
        *members: object,
        require: Literal["all", "first"] | int = "all",
        combine: Callable[[Answers], Any] | None = None,
        name: str = "ensemble",
    ) -> None:
        super().__init__(name)
        if not members:
            raise CompositionError(f"{name}: name its members")
        steps = tuple(map(as_step, members))
        _check(name, steps)
        if require == "first" and combine is not None:
            raise CompositionError(f"{name}: require='first' gives the first answer as it is: leave combine out")
        self._needed = _needed(name, require, len(steps))
        self._first = require == "first"
        self._members = _named(steps)
        self._combine = None if combine is None else as_step(("combine", combine))
        if self._combine is not None and self._combine.streams:
            raise CompositionError(f"{name}: combine yields: have it return a list")
        self.require = require
        self.children = steps if self._combine is None else (*steps, self._combine)
        self.takes, self.parameter = steps[0].takes, steps[0].parameter
        answer = common([step.gives for step in steps])
        self.gives = dict[str, answer]  # type: ignore[valid-type]  # a hint that is made here
        if self._first:
            self.gives = answer
        elif self._combine is not None:
            self.gives = self._combine.gives

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as the members declare
        """See :class:`~pillion.composition.step.Step`."""
        answers = await self._answers(value, call)
        if self._first:
            return next(iter(answers.values()))
        return answers if self._combine is None else await self._combine.perform(answers, call)

    async def _answers(self, value: Any, call: FlowCall) -> Answers:  # noqa: ANN401 - as above
        loop = asyncio.get_running_loop()
        tasks = {name: loop.create_task(step.perform(value, call)) for name, step in self._members.items()}
        answers: dict[str, Any] = {}
        failures: dict[str, BaseException] = {}
        pending = set(tasks.values())
        try:
            while pending and len(answers) < self._needed <= len(tasks) - len(failures):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for name, task in tasks.items():
                    if task in done:
                        error = asyncio.CancelledError() if task.cancelled() else task.exception()
                        if error is not None:
                            failures[name] = error
                        else:
                            answers[name] = task.result()
        finally:
            call.session.leave(pending)
        kept = list(answers)[: self._needed] if self._first else list(answers)
        unfinished = tuple(name for name in tasks if name not in answers and name not in failures)
        if len(answers) < self._needed:
            raise EnsembleError(self.name, self._needed, answers, failures, unfinished) from next(
                iter(failures.values())
            )
        return Answers({name: answers[name] for name in tasks if name in kept}, failures, unfinished)


def _check(name: str, members: tuple[Step, ...]) -> None:
    first = members[0]
    for member in members:
        if member.streams:
            raise CompositionError(f"{name}: member {member.name!r} yields: have it return a list")
        if not (fits(first.takes, member.takes) or fits(member.takes, first.takes)):
            raise CompositionError(
                f"{name}: {first.name!r} takes {shown(first.takes)}, and {member.name!r} takes {shown(member.takes)}:"
                " members are given the same value"
            )


def _needed(name: str, require: object, members: int) -> int:
    if require == "all":
        return members
    if require == "first":
        return 1
    if isinstance(require, bool) or not isinstance(require, int) or not 1 <= require <= members:
        raise CompositionError(f"{name}: require={require!r}: 'all', 'first', or a number from 1 to {members}")
    return require


def _named(steps: tuple[Step, ...]) -> dict[str, Step]:
    named: dict[str, Step] = {}
    for step in steps:
        name, number = step.name, 2
        while name in named:
            name, number = f"{step.name}-{number}", number + 1
        named[name] = step
    return named
