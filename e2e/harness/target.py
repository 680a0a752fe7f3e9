"""The cluster that scenarios run on: one that this project makes, or a foreign one that the user allows by name.

A foreign cluster is taken only where all of `E2E_KUBECONFIG`, `E2E_CONTEXT`, `E2E_ALLOW_DESTRUCTIVE=1` and
`E2E_REGISTRY` are set, because scenarios delete pods, namespaces and CRDs; a plain `KUBECONFIG` is ignored. Its images
must be in that registry already, under the names that `cluster.py images` gives them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.node import backend, gotools, images
from e2e.harness.commands import Helm, Kubectl, helm_for, kubectl_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.cluster.node.backend import Cluster

_FOREIGN = ("E2E_KUBECONFIG", "E2E_CONTEXT", "E2E_ALLOW_DESTRUCTIVE", "E2E_REGISTRY")


class TargetRefusedError(AssertionError):
    """The environment names a foreign cluster without allowing everything that scenarios do to it."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A cluster that is not ours."""

    kubeconfig: Path
    context: str
    registry: str


def foreign(environment: Mapping[str, str]) -> Foreign | None:
    """Return the foreign cluster that the environment allows, None where it names none.

    Raises TargetRefusedError where it names one and something that must be said is missing.
    """
    if not any(environment.get(name) for name in _FOREIGN):
        return None
    missing = [name for name in _FOREIGN if not environment.get(name)]
    if missing:
        raise TargetRefusedError(f"a cluster of yours also needs {', '.join(missing)}; see e2e/README.md")
    if environment["E2E_ALLOW_DESTRUCTIVE"] != "1":
        raise TargetRefusedError("set E2E_ALLOW_DESTRUCTIVE=1: the scenarios delete pods, namespaces and CRDs")
    path = Path(environment["E2E_KUBECONFIG"])
    return Foreign(path, environment["E2E_CONTEXT"], environment["E2E_REGISTRY"].rstrip("/"))


class Target:
    """The cluster under test with its commands and its images."""

    def __init__(self) -> None:
        """Choose the cluster; nothing is started yet."""
        self._foreign = foreign(os.environ)
        self._own: Cluster | None = None
        #: Whether this run started the cluster, and so ends it.
        self.started = False
        programs = gotools.ensure(["kubectl", "helm"])
        if self._foreign is None:
            self._own = backend.choose(os.environ.get("E2E_CLUSTER", "e2e"))
            kubeconfig, context = self._own.kubeconfig, self._own.context
        else:
            kubeconfig, context = self._foreign.kubeconfig, self._foreign.context
        self.kubeconfig = kubeconfig
        self.context = context
        self.kubectl: Kubectl = kubectl_for(programs["kubectl"], kubeconfig, context)
        self.helm: Helm = helm_for(programs["helm"], kubeconfig, context)
        self._loaded: dict[str, str] = {}

    def up(self) -> None:
        """Start the cluster where it is ours and does not run."""
        if self._own is not None and not self._own.running:
            self._own.up()
            self.started = True

    def down(self) -> None:
        """End the cluster where this run started it; `E2E_KEEP=1` leaves it for the next run."""
        if self._own is not None and self.started and os.environ.get("E2E_KEEP") != "1":
            self._own.down()

    def image(self, name: str, tag: str | None = None) -> str:
        """Return the reference of an image that pods can use, built and loaded on first use.

        `tag` replaces the image's own, so that the same content has a second name.
        """
        reference = images.image(name).reference
        if tag is not None:
            reference = f"{reference.rpartition(':')[0]}:{tag}"
        if self._foreign is not None:
            return f"{self._foreign.registry}/{reference.partition('/')[2]}"
        if reference not in self._loaded:
            assert self._own is not None  # one of the two is always there
            self._loaded[reference] = self._own.load(name, reference)
        return self._loaded[reference]
