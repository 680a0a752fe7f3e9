"""What is wrong with the graph of a service, as far as manifests tell: its document, and the models that it calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources.base import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue

    from pillion.graph.check import GraphProblem
    from pillion.resources.inferenceservice import InferenceService

__all__ = ["graph_name", "graph_problems"]


def graph_name(service: InferenceService) -> str:
    """What the graph of a service is served as: the service's name, unless a model has that."""
    named = None if service.spec.graph is None else service.spec.graph.name
    own = service.metadata.name or "graph"
    return named or (own if service.spec.predictor.serving_model is None else "graph")


def graph_problems(
    service: InferenceService, beside: Sequence[JsonValue] = (), *, models: bool = True
) -> Iterator[GraphProblem]:
    """All of it; `beside` are the documents of the same file, `models` is whether the models are looked for there."""
    from pillion.graph.check import named, problems, unknown_models  # noqa: PLC0415 - few services have graphs

    if service.spec.graph is None:
        return
    graph = service.spec.graph.document()
    found = [*named(graph_name(service)), *_taken(service), *problems(graph)]
    yield from found
    known = None if found or not models else _models(service, beside)
    if known is not None:
        yield from unknown_models(graph, known)


def _taken(service: InferenceService) -> Iterator[GraphProblem]:
    """Two models of one name."""
    from pillion.graph.check import GraphProblem  # noqa: PLC0415 - as above

    predictor, name = service.spec.predictor, graph_name(service)
    models = {model.name for model in predictor.models or []}
    if name in models or (name == service.metadata.name and predictor.serving_model is not None):
        yield GraphProblem(("name",), f"the predictor has a model {name!r} already; give the graph another name")


def _models(service: InferenceService, beside: Sequence[JsonValue]) -> set[str] | None:
    """Names of the models of a service; None where its own image may have more."""
    predictor = service.spec.predictor
    if predictor.applications or any(container.image for container in predictor.containers or []):
        return None
    names = {model.name for model in predictor.models or []}
    if predictor.serving_model is not None:
        names.add(service.metadata.name or "")
    return names | {name for document in beside for name in _declared(document, service.metadata.name)}


def _declared(document: JsonValue, service: str | None) -> Iterator[str]:
    """The name that a Model object of that service is served by."""
    match document:
        case {
            "apiVersion": version,
            "kind": "Model",
            "metadata": {"name": str(name)},
            "spec": {"inferenceServiceRef": {"name": str(of)}, **spec},
        } if version == API_VERSION and of == service:
            served = spec.get("name")
            yield served if isinstance(served, str) else name
