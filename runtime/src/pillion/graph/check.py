"""What is wrong with a graph, each with its place. Pure.

The structure is in the CRD's rules, too; what needs a walk (cycles, nodes that nothing leads to) is here alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from pillion.graph.condition import condition
from pillion.graph.document import MOST_NODES, MOST_STEPS, ROOT, Graph

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pillion.graph.document import GraphStep, Node

__all__ = ["GraphProblem", "named", "problems", "read", "unknown_models"]

_SERVICE: Final = re.compile(r"(https?|grpcs?)://[^/\s]+(/\S*)?|[a-z0-9-]{1,63}([.][a-z0-9-]{1,63})?")
_URL: Final = re.compile(r"https?://[^/\s]+(/\S*)?")
_MODEL: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WHOLE: Final = 100
_MOST_UNROLLED: Final = 256
"""Steps where each use of a node counts."""


class GraphProblem(NamedTuple):
    """One thing that is wrong."""

    path: tuple[str | int, ...]
    """Below the graph."""
    message: str

    def __str__(self) -> str:
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).lstrip(".")
        return f"{place}: {self.message}"


def read(document: Mapping[str, Any], name: str) -> Graph:
    """The graph of a document, that is served as a model of that name.

    Raises:
        ValueError: it is none, or cannot run; names the field.
    """
    graph = msgspec.convert(document, Graph)
    for problem in (*named(name), *problems(graph)):
        raise ValueError(str(problem))
    return graph


def named(name: str) -> Iterator[GraphProblem]:
    """What is wrong with the name of its model, which is that of its task as well."""
    if _MODEL.fullmatch(name) is None:
        yield GraphProblem(("name",), f"{name!r} is no name of a graph: letters, digits, '-' and '_', a letter first")


def problems(graph: Graph) -> Iterator[GraphProblem]:
    """All of them."""
    nodes = graph.nodes
    if not 1 <= len(nodes) <= MOST_NODES:
        yield GraphProblem(("nodes",), f"a graph has 1 to {MOST_NODES} nodes")
    if ROOT not in nodes:
        yield GraphProblem(("nodes",), f"there is no node {ROOT!r}, where requests come in")
        return
    sound = True
    for name, node in nodes.items():
        for problem in (*_of_node(node), *_of_steps(node, nodes)):
            sound = False
            yield GraphProblem(("nodes", name, *problem.path), problem.message)
    if not sound:
        return
    cycle = _cycle(graph)
    if cycle is not None:
        yield cycle
        return
    yield from _unreachable(graph)
    if _unrolled(graph, ROOT, {}) > _MOST_UNROLLED:
        yield GraphProblem(("nodes",), f"with every use of its nodes it has more than {_MOST_UNROLLED} steps")


def unknown_models(graph: Graph, known: Collection[str]) -> Iterator[GraphProblem]:
    """Steps that call a model of the own server that is not there."""
    listed = ", ".join(sorted(known)) or "none"
    for name, node in graph.nodes.items():
        for number, step in enumerate(node.steps):
            if step.model is not None and step.service is None and step.model not in known:
                yield GraphProblem(
                    ("nodes", name, "steps", number, "model"),
                    f"there is no model {step.model!r} here; models: {listed}",
                )


def _of_node(node: Node) -> Iterator[GraphProblem]:
    steps = node.steps
    if not 1 <= len(steps) <= MOST_STEPS:
        yield GraphProblem(("steps",), f"a node has 1 to {MOST_STEPS} steps")
        return
    yield from _of_members(node)
    match node.type:
        case "map" if len(steps) != 1:
            yield GraphProblem(("steps",), "a map has one step, which is given each item: make a node of several")
        case "splitter":
            weights = [step.weight or 0 for step in steps]
            if sum(weights) != _WHOLE:
                yield GraphProblem(("steps",), f"the weights of a splitter add up to {_WHOLE}, not {sum(weights)}")
        case "switch":
            for number, step in enumerate(steps[:-1]):
                if step.when is None:
                    yield GraphProblem(("steps", number), "needs 'when': only the last step of a switch goes without")
    named = [step.called for step in steps]
    for number, name in enumerate(named):
        if name in named[:number]:
            yield GraphProblem(("steps", number), f"two steps are called {name!r}: give one another name")


def _of_members(node: Node) -> Iterator[GraphProblem]:
    if node.quorum is not None and (node.type != "ensemble" or node.require == "first"):
        yield GraphProblem(("quorum",), "is for an ensemble that does not require the first")
    elif node.quorum is not None and node.quorum > len(node.steps):
        yield GraphProblem(("quorum",), f"is {node.quorum}, and there are {len(node.steps)} steps")
    if node.require == "first" and node.type != "ensemble":
        yield GraphProblem(("require",), "is for an ensemble")


def _of_steps(node: Node, nodes: Collection[str]) -> Iterator[GraphProblem]:
    for number, step in enumerate(node.steps):
        for field, message in _of_step(step, node, nodes):
            yield GraphProblem(("steps", number, *([field] if field else [])), message)


def _of_step(step: GraphStep, node: Node, nodes: Collection[str]) -> Iterator[tuple[str, str]]:
    targets = [step.node, step.url, step.service or step.model]
    if sum(target is not None for target in targets) != 1:
        yield "", "names what it calls, one of node, model, service and url (a service may have a model)"
        return
    if step.node is not None and step.node not in nodes:
        yield "node", f"there is no node {step.node!r}; nodes: {', '.join(nodes)}"
    if step.service is not None and _SERVICE.fullmatch(step.service) is None:
        yield "service", f"{step.service!r} is neither a URL nor the NAME or NAME.NAMESPACE of an InferenceService"
    if step.url is not None and _URL.fullmatch(step.url) is None:
        yield "url", f"{step.url!r} is not http(s)://HOST/PATH"
    if step.task is not None and (step.node is not None or step.url is not None):
        yield "task", "is for a model or a service"
    if step.weight is not None and node.type != "splitter":
        yield "weight", "is for a splitter"
    if step.data == "request" and node.type != "sequence":
        yield "data", "is for a sequence: steps of others are all given the request"
    if step.when is not None:
        if node.type not in {"switch", "sequence"}:
            yield "when", "is for a switch or a sequence"
        try:
            condition(step.when)
        except ValueError as error:
            yield "when", str(error)


def _cycle(graph: Graph) -> GraphProblem | None:
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> GraphProblem | None:
        for number, step in enumerate(graph.nodes[name].steps):
            if step.node is None or step.node in done:
                continue
            if step.node in way:
                shown = " -> ".join((*way[way.index(step.node) :], step.node))
                place = ("nodes", name, "steps", number, "node")
                return GraphProblem(place, f"leads back to where it came from: {shown}")
            found = walk(step.node, (*way, step.node))
            if found is not None:
                return found
        done.add(name)
        return None

    for name in graph.nodes:
        found = walk(name, (name,))
        if found is not None:
            return found
    return None


def _unreachable(graph: Graph) -> Iterator[GraphProblem]:
    reached = {ROOT}
    left = [ROOT]
    while left:
        for step in graph.nodes[left.pop()].steps:
            if step.node is not None and step.node not in reached:
                reached.add(step.node)
                left.append(step.node)
    for name in graph.nodes:
        if name not in reached:
            yield GraphProblem(("nodes", name), f"nothing leads here from {ROOT!r}: remove it, or name it in a step")


def _unrolled(graph: Graph, name: str, known: dict[str, int]) -> int:
    if name not in known:
        below = (1 if step.node is None else 1 + _unrolled(graph, step.node, known) for step in graph.nodes[name].steps)
        known[name] = sum(below)
    return known[name]
