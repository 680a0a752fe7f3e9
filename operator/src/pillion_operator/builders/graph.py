"""The graph of the manifest: what the runtime is told of it, and what keeps it from being told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources.graph_models import graph_name, graph_problems
from pillion.runtimefile import DesiredModel
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources import InferenceService
    from pillion_operator.builders.context import BuildContext

__all__ = ["check_graph", "graph_gap", "graph_models"]


def check_graph(service: InferenceService) -> None:
    """Refuse a graph that cannot run before any pod is made that would refuse it.

    Which models there are is not asked: Model objects may bring them later.

    Raises:
        PlanError: with the field of the first problem.
    """
    for problem in graph_problems(service, models=False):
        place = str(problem).partition(":")[0]
        text = f"the graph cannot run: {problem}"
        raise PlanError(Problem(Reason.INVALID_SPEC, text, f"spec.graph.{place}", transient=False))


def graph_models(context: BuildContext) -> tuple[DesiredModel, ...]:
    """Return the graph as a model of runtime.yaml; none where there is no graph."""
    graph = context.service.spec.graph
    return () if graph is None else (DesiredModel(name=graph_name(context.service), path="", graph=graph.to_api()),)


def graph_gap(context: BuildContext) -> tuple[str, ...]:
    """Return the field where the container that serves cannot be told of it."""
    if context.service.spec.graph is None or context.ours:
        return ()
    return (f"spec.graph on the container {context.container.get('name')!r}, which is not Pillion's runtime",)
