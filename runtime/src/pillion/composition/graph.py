"""A graph's document as a composition: its nodes become compositions, its steps what they call."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from pillion.composition.composition import Composition
from pillion.composition.ensemble import Ensemble
from pillion.composition.errors import UnknownBranchError
from pillion.composition.graph_steps import LocalStep, RemoteStep, UrlStep
from pillion.composition.mapping import Map
from pillion.graph.condition import condition
from pillion.graph.document import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.composition.session import FlowCall
    from pillion.composition.step import Step
    from pillion.graph.document import Graph, GraphStep, Node

__all__ = ["GraphSequence", "GraphSwitch", "Splitter", "composed"]


def composed(graph: Graph, name: str) -> Composition:
    """The composition of a graph.

    Raises:
        CompositionError: a step cannot be made.
    """
    root = _node(graph, graph.nodes[ROOT], name)
    root.parameter = "inputs"
    return root


def _node(graph: Graph, node: Node, name: str) -> Composition:
    steps = [_step(graph, step) for step in node.steps]
    match node.type:
        case "sequence":
            return GraphSequence(name, node.steps, steps)
        case "switch":
            return GraphSwitch(name, node.steps, steps)
        case "splitter":
            return Splitter(name, [step.weight or 0 for step in node.steps], steps)
        case "map":
            return Map(steps[0], concurrency=node.concurrency, name=name)
        case "ensemble":
            return Ensemble(*steps, require=node.quorum or node.require, name=name)


def _step(graph: Graph, step: GraphStep) -> Step:
    if step.node is not None:
        return _node(graph, graph.nodes[step.node], step.called)
    if step.url is not None:
        return UrlStep(step.called, step.url)
    if step.service is not None:
        return RemoteStep(step.called, step.service, step.model, step.task)
    return LocalStep(step.called, step.model or "", step.task)


class GraphSequence(Composition):
    """One step after another. One whose condition does not hold of what came before ends it, with that."""

    kind = "sequence"

    def __init__(self, name: str, said: Sequence[GraphStep], steps: Sequence[Step]) -> None:
        super().__init__(name)
        self.children = tuple(steps)
        self._when = [None if step.when is None else condition(step.when) for step in said]
        self._request = [step.data == "request" for step in said]

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as JSON has them
        """See :class:`~pillion.composition.step.Step`."""
        given = value
        for step, when, request in zip(self.children, self._when, self._request, strict=True):
            if when is not None and not when.holds(value):
                break
            value = await step.perform(given if request else value, call)
        return value


class GraphSwitch(Composition):
    """The first step whose condition holds of the value."""

    kind = "switch"

    def __init__(self, name: str, said: Sequence[GraphStep], steps: Sequence[Step]) -> None:
        super().__init__(name)
        self.children = tuple(steps)
        self._when = [None if step.when is None else condition(step.when) for step in said]
        self._conditions = ", ".join(step.when for step in said if step.when is not None)

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as above
        """See :class:`~pillion.composition.step.Step`."""
        for step, when in zip(self.children, self._when, strict=True):
            if when is None or when.holds(value):
                return await step.perform(value, call)
        raise UnknownBranchError(f"{self.name}: no condition holds of the value; there are: {self._conditions}")


class Splitter(Composition):
    """One of the steps, each for a share of the requests."""

    kind = "splitter"

    def __init__(
        self,
        name: str,
        weights: Sequence[int],
        steps: Sequence[Step],
        choose: Callable[..., list[Step]] = random.choices,
    ) -> None:
        super().__init__(name)
        self.children = tuple(steps)
        self._weights = list(weights)
        self._choose = choose

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as above
        """See :class:`~pillion.composition.step.Step`."""
        (step,) = self._choose(self.children, weights=self._weights)
        return await step.perform(value, call)
