"""The graph of an InferenceService, as the API server is to know it.

Only what it can check by itself is here; :mod:`pillion.graph` has the whole of it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, MaxLen, MinLen
from pydantic import Field

from pillion.graph.document import MOST_NODES, MOST_STEPS, ROOT
from pillion.resources.annotations import AtomicList, Percent
from pillion.resources.base import ResourceModel
from pillion.resources.rules import Rule

if TYPE_CHECKING:
    from pillion.graph.document import Graph

_Short = Annotated[str, MaxLen(63)]
_Address = Annotated[str, MaxLen(512)]


class GraphStepSpec(ResourceModel):
    """A step."""

    name: _Short | None = None
    """Its name in answers and metrics."""

    node: _Short | None = None
    """Another node."""

    model: _Short | None = None
    """A model of this service, or of `service`."""

    service: _Address | None = None
    """An InferenceService, or a URL."""

    url: _Address | None = None
    """Is sent JSON, and answers JSON."""

    task: _Short | None = None
    """Default: predict."""

    when: Annotated[str, MaxLen(256)] | None = None
    """Its condition, as `label == "cat"`."""

    weight: Percent | None = None
    """Its share in a splitter."""

    data: Literal["previous", "request"] | None = None
    """What it is given in a sequence."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="[has(self.node), has(self.url), has(self.model) || has(self.service)].exists_one(x, x)",
            message="set one of node, model, service and url (a service may have a model)",
            holds=lambda step: (
                [step.node is not None, step.url is not None, (step.model or step.service) is not None].count(True) == 1
            ),
        ),
    )


class GraphNodeSpec(ResourceModel):
    """Steps that belong together."""

    type: Literal["sequence", "switch", "ensemble", "splitter", "map"]
    """How."""

    steps: Annotated[list[GraphStepSpec], MinLen(1), MaxLen(MOST_STEPS), AtomicList()]
    """In their order."""

    require: Literal["all", "first"] | None = None
    """Which of an ensemble have to answer."""

    quorum: Annotated[int, Ge(1)] | None = None
    """How many of them."""

    concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    """Items of a map at a time."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.type != 'splitter' || self.steps.map(s, has(s.weight) ? s.weight : 0).sum() == 100",
            message="the weights of a splitter add up to 100",
            field="steps",
            holds=lambda node: node.type != "splitter" or sum(step.weight or 0 for step in node.steps) == 100,
        ),
        Rule(
            cel="self.type != 'switch' || self.steps.filter(s, !has(s.when)).size() < 2",
            message="only the last step of a switch goes without 'when'",
            field="steps",
            holds=lambda node: node.type != "switch" or [step.when for step in node.steps].count(None) < 2,
        ),
        Rule(
            cel="self.type != 'map' || self.steps.size() == 1",
            message="a map has one step",
            field="steps",
            holds=lambda node: node.type != "map" or len(node.steps) == 1,
        ),
        Rule(
            cel="!has(self.quorum) || (self.type == 'ensemble' && self.quorum <= self.steps.size())",
            message="quorum is for an ensemble, and at most its number of steps",
            field="quorum",
            holds=lambda node: node.quorum is None or (node.type == "ensemble" and node.quorum <= len(node.steps)),
        ),
    )


_Nodes = Annotated[dict[str, GraphNodeSpec], MaxLen(MOST_NODES)]


def _named(nodes: Mapping[str, GraphNodeSpec]) -> set[str]:
    return {step.node for node in nodes.values() for step in node.steps if step.node is not None}


class GraphSpec(ResourceModel):
    """Models, services and each other, put together."""

    name: _Short | None = None
    """The model that it is served as. Default: the service's name, or `graph` beside a model."""

    nodes: _Nodes
    """`root` is where requests come in."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"'{ROOT}' in self.nodes",
            message=f"there is no node '{ROOT}'",
            field="nodes",
            holds=lambda graph: ROOT in graph.nodes,
        ),
        Rule(
            cel="self.nodes.all(n, self.nodes[n].steps.all(s, !has(s.node) || s.node in self.nodes))",
            message="a step names a node that there is not",
            field="nodes",
            holds=lambda graph: _named(graph.nodes) <= graph.nodes.keys(),
        ),
        Rule(
            cel=f"self.nodes.all(n, n == '{ROOT}' || self.nodes.exists(m, self.nodes[m].steps.exists(s, has(s.node) && "
            "s.node == n)))",
            message="no step names one of the nodes",
            field="nodes",
            holds=lambda graph: graph.nodes.keys() - {ROOT} <= _named(graph.nodes),
        ),
    )

    def document(self) -> "Graph":
        """The graph to run, which :func:`pillion.graph.check.problems` judges."""
        import msgspec  # noqa: PLC0415 - only for graphs

        from pillion.graph.document import Graph  # noqa: PLC0415 - as above

        return msgspec.convert(self.to_api(), Graph)
