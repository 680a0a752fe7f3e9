"""The document that says a graph: nodes by name, of which ``root`` is the entry, each with its steps."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["MOST_NODES", "MOST_STEPS", "ROOT", "Graph", "GraphStep", "Node", "NodeType"]

ROOT = "root"
MOST_NODES = 32
MOST_STEPS = 16
"""Of a node."""
NodeType = Literal["sequence", "switch", "ensemble", "splitter", "map"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    pass


class GraphStep(_Part, frozen=True, kw_only=True):
    """One step: another node, a model of this server, or one of another service."""

    name: str | None = None
    """In answers, metrics and traces; by default that of what it calls."""
    node: str | None = None
    model: str | None = None
    """Of this server. With ``service``: of that one."""
    service: str | None = None
    """An InferenceService, ``NAME`` or ``NAME.NAMESPACE``, or the URL of a server."""
    url: str | None = None
    """Is sent the value by POST as JSON, and answers JSON."""
    task: str | None = None
    """By default ``predict``, on arrays."""
    when: str | None = None
    """See :mod:`pillion.graph.condition`."""
    weight: Annotated[int, Meta(ge=0, le=100)] | None = None
    """Percentage of the requests that go this way, in a splitter."""
    data: Literal["previous", "request"] = "previous"
    """What a step of a sequence is given: what came before it, or what the sequence was given."""

    @property
    def called(self) -> str:
        """Its name."""
        if self.name is not None:
            return self.name
        if self.node is not None:
            return self.node
        found = self.model or self.service or self.url or ""
        return found.partition("://")[2] or found


class Node(_Part, frozen=True, kw_only=True):
    """Steps, and how they belong together."""

    type: NodeType
    steps: tuple[GraphStep, ...]
    require: Literal["all", "first"] = "all"
    """Which members of an ensemble have to answer."""
    quorum: Annotated[int, Meta(ge=1)] | None = None
    """Instead: how many."""
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 8
    """Items of a map that are in progress at a time."""


class Graph(_Part, frozen=True, kw_only=True):
    """The whole."""

    nodes: dict[str, Node]
    name: str | None = None
    """Of the model that it is served as."""
