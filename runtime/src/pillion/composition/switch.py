"""``pillion.Switch``: one of several steps, by a choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pillion.composition.composition import Composition
from pillion.composition.errors import CompositionError, UnknownBranchError
from pillion.composition.hints import common, fits, shown
from pillion.composition.step import Step, as_step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable

    from pillion.composition.session import FlowCall

__all__ = ["Switch"]


class Switch(Composition):
    """A function chooses which step is called with the value.

    Args:
        choose: given the value, gives the key of a branch.
        branches: steps by key. Either all of them yield, or none.
        default: for keys that are none of these.
        name: as of :class:`~pillion.Sequential`.

    Raises:
        CompositionError: there are no branches, or a branch takes what ``choose`` cannot have been given.
        UnknownBranchError: when called: there is no such key, and no default.
    """

    kind = "switch"

    def __init__(
        self,
        choose: Callable[[Any], Any] | Step,
        branches: Mapping[Any, object],
        *,
        default: object | None = None,
        name: str = "switch",
    ) -> None:
        super().__init__(name)
        given: object = branches
        if given is not None and not isinstance(given, Mapping):
            raise CompositionError(
                f"{name}: branches are steps by their keys, in a dict, and not a {type(given).__name__}"
            )
        if not branches:
            raise CompositionError(f"{name}: name its branches")
        self._choose = as_step(choose if isinstance(choose, Step) else ("choose", choose))
        if self._choose.streams:
            raise CompositionError(f"{name}: choose yields: have it return a key")
        self._branches: dict[Hashable, Step] = {key: as_step(branch) for key, branch in branches.items()}
        self._default = None if default is None else as_step(default)
        steps = [*self._branches.values(), *([] if self._default is None else [self._default])]
        for step in steps:
            if not fits(self._choose.takes, step.takes):
                raise CompositionError(
                    f"{name}: choose takes {shown(self._choose.takes)},"
                    f" and branch {step.name!r} takes {shown(step.takes)}"
                )
        self.streams = steps[0].streams
        odd = next((step for step in steps if step.streams != self.streams), None)
        if odd is not None:
            raise CompositionError(f"{name}: {steps[0].name!r} and {odd.name!r}: one yields and the other does not")
        self.children = (self._choose, *steps)
        takes = [one.takes for one in self.children if one.takes is not Any]
        self.takes, self.parameter = (takes[0] if takes else Any), self._choose.parameter
        self.gives = common([step.gives for step in steps])

    @property
    def keys(self) -> dict[str, Step]:
        """Its branches by their keys as text; the default by ``default``."""
        named = {str(key): step for key, step in self._branches.items()}
        return named if self._default is None else {**named, "default": self._default}

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as the branches declare
        """See :class:`~pillion.composition.step.Step`."""
        return await (await self._chosen(value, call)).perform(value, call)

    async def yielding(self, value: Any, call: FlowCall) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        """See :class:`~pillion.composition.step.Step`."""
        async for item in (await self._chosen(value, call)).flowing(value, call):
            yield item

    async def _chosen(self, value: Any, call: FlowCall) -> Step:  # noqa: ANN401 - as above
        key = await self._choose.perform(value, call)
        try:
            found = self._branches.get(key, self._default)
        except TypeError:
            raise TypeError(f"{self.name}: choose gave {type(key).__name__}, which cannot be a key") from None
        if found is None:
            known = ", ".join(map(repr, self._branches))
            raise UnknownBranchError(f"{self.name}: there is no branch {key!r}; there are: {known}")
        return found
