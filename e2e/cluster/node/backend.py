"""Which cluster the commands and the scenarios work on: kind where Docker is, else our own node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from e2e.cluster.node import kind, own

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Cluster(Protocol):
    """A cluster that this project makes and may therefore do anything to."""

    @property
    def name(self) -> str:
        """The name by which the commands know it."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it is there once the cluster is up."""

    @property
    def context(self) -> str:
        """The kubeconfig's only context."""

    @property
    def running(self) -> bool:
        """Whether the cluster was started and has not ended."""

    def up(self, *, keep_failed: bool = False) -> None:
        """Start the cluster and return once its own pods are ready; a running one stays as it is.

        What failed to start is taken down, unless `keep_failed`.
        """

    def down(self) -> None:
        """End the cluster; raises ClusterError that lists what is left over."""

    def status(self) -> str:
        """Return what there is to say about the cluster, in lines."""

    def load(self, image: str, reference: str | None = None) -> str:
        """Build an image of the checkout, load it, and return the reference that pods use."""

    def enter(self, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Return the command, and variables to add, that run `argv` in the cluster's network."""


def choose(name: str) -> Cluster:
    """Return the cluster of that name: kind's where a Docker engine and kind answer, else our own."""
    return kind.Kind(name) if kind.available() else own.OwnNode(name)
