"""The graphs among the models of a server, as classes that it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.composition.graph import composed
from pillion.composition.serving import model_of
from pillion.graph.check import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion.runtimefile import DesiredModel

__all__ = ["GraphClasses"]


class GraphClasses:
    """The classes of graphs, as they change.

    Args:
        classes: of a server by the names of its models: those that a program hands over, and from now on these.
    """

    def __init__(self, classes: dict[str, type[Any]]) -> None:
        self._classes = classes
        self._graphs: set[str] = set()

    def follow(self, models: Iterable[DesiredModel]) -> None:
        """Have classes for the graphs of these models, and for none that are no more."""
        for name in self._graphs:
            del self._classes[name]
        self._graphs.clear()
        for model in models:
            if model.graph is not None:
                self._classes[model.name] = model_of(composed(read(model.graph, model.name), model.name), model.name)
                self._graphs.add(model.name)
