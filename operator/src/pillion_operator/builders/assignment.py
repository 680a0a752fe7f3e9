"""Which pod gets which model: every model in as many pods as asked, within a budget, with as few moves as can be.

What is placed stays. What lost its pod goes where least is, the largest first; so when a pod dies only its models move.
A new pod takes over from the fullest until it has its share. A pod whose models turn out to be larger than the budget
gives some up to pods that have room, and keeps them where there is none: what is served is not taken away for that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["Assignment", "Wish", "assign"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a manifest asks for.

    Attributes:
        copies: pods for each model; all of them where there are fewer.
        budget: bytes of models in one pod; None where nothing bounds them.
    """

    copies: int = 1
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which pods are to have each model.

    Attributes:
        places: pods by model, in stable order.
        missing: copies that no pod has room for, by model; only where there are any.
        most_free: bytes that the emptiest pod has left of the budget.
    """

    places: Mapping[str, tuple[str, ...]]
    missing: Mapping[str, int] = field(default_factory=dict)
    most_free: int = 0


def assign(
    sizes: Mapping[str, int], pods: Collection[str], before: Mapping[str, Sequence[str]], wish: Wish
) -> Assignment:
    """Return where each model is to be.

    Args:
        sizes: bytes of every model, as far as is known.
        pods: names of those that can take models.
        before: pods by model as it was decided last.
        wish: what is asked for.
    """
    floor = _Floor(sizes, pods, before, wish)
    floor.place()
    floor.relieve()
    floor.level(frozenset(pods) - {pod for places in before.values() for pod in places})
    places = {model: tuple(sorted(held)) for model, held in sorted(floor.held.items())}
    copies = min(wish.copies, len(floor.load)) or 1
    missing = {model: copies - len(held) for model, held in places.items() if len(held) < copies}
    free = max((wish.budget - load for load in floor.load.values()), default=0) if wish.budget is not None else 0
    return Assignment(places, missing, max(0, free))


class _Floor:
    """The pods with what is in them."""

    def __init__(
        self, sizes: Mapping[str, int], pods: Collection[str], before: Mapping[str, Sequence[str]], wish: Wish
    ) -> None:
        self.sizes = sizes
        self.wish = wish
        self.load = dict.fromkeys(sorted(pods), 0)
        self.inside: dict[str, set[str]] = {pod: set() for pod in self.load}
        self.held: dict[str, set[str]] = {model: set() for model in sizes}
        for model in sizes:
            for pod in [pod for pod in before.get(model, ()) if pod in self.load][: wish.copies]:
                self._put(model, pod)

    def place(self) -> None:
        """Give each model the copies that it lacks: the first one of all before the second of any."""
        order = sorted(self.sizes, key=lambda model: (-self.sizes[model], model))
        for number in range(1, min(self.wish.copies, len(self.load)) + 1):
            for model in order:
                if len(self.held[model]) < number:
                    pod = self._emptiest(model)
                    if pod is not None:
                        self._put(model, pod)

    def relieve(self) -> None:
        """Move models out of pods that hold more than the budget, where others have room."""
        budget = self.wish.budget
        if budget is None:
            return
        for pod in self.load:
            for model in sorted(self.inside[pod], key=lambda model: (-self.sizes[model], model)):
                if self.load[pod] <= budget:
                    break
                other = self._emptiest(model)
                if other is not None:
                    self._move(model, pod, other)

    def level(self, fresh: Collection[str]) -> None:
        """Let pods that are new take over from the fullest, as long as that makes the two more equal."""
        while fresh:
            steps = (self._step(pod, fresh) for pod in sorted(fresh, key=lambda pod: (self._weight(pod), pod)))
            step = next((step for step in steps if step is not None), None)
            if step is None:
                return
            self._move(*step)

    def _step(self, to: str, fresh: Collection[str]) -> tuple[str, str, str] | None:
        for source in sorted(self.load, key=lambda pod: (-self._weight(pod)[0], -self._weight(pod)[1], pod)):
            if source in fresh:
                continue
            for model in sorted(self.inside[source] - self.inside[to], key=lambda model: (-self.sizes[model], model)):
                if self._evens(model, source, to) and self._fits(model, to):
                    return model, source, to
        return None

    def _evens(self, model: str, source: str, to: str) -> bool:
        """Whether the pod that takes it still has no more than the one that gives it: in bytes, then in number."""
        size = self.sizes[model]
        after = (self.load[to] + size, len(self.inside[to]) + 1)
        return after <= (self.load[source] - size, len(self.inside[source]) - 1)

    def _emptiest(self, model: str) -> str | None:
        free = [pod for pod in self.load if pod not in self.held[model] and self._fits(model, pod)]
        least = min(map(self._weight, free), default=None)
        equal = [pod for pod in free if self._weight(pod) == least]
        return min(equal, key=lambda pod: _chance(model, pod), default=None)

    def _fits(self, model: str, pod: str) -> bool:
        return self.wish.budget is None or self.load[pod] + self.sizes[model] <= self.wish.budget

    def _weight(self, pod: str) -> tuple[int, int]:
        return self.load[pod], len(self.inside[pod])

    def _move(self, model: str, source: str, to: str) -> None:
        self.held[model].discard(source)
        self.inside[source].discard(model)
        self.load[source] -= self.sizes[model]
        self._put(model, to)

    def _put(self, model: str, pod: str) -> None:
        self.held[model].add(pod)
        self.inside[pod].add(model)
        self.load[pod] += self.sizes[model]


def _chance(model: str, pod: str) -> bytes:
    """An order of pods that is another for each model, so that equal ones get equally much."""
    return hashlib.sha256(f"{model}/{pod}".encode()).digest()
