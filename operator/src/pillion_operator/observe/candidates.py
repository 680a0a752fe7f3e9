"""The serving runtimes that a service may choose from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pillion.resources import ServingRuntimeSpec
from pillion_operator.builders.builtin import builtin_runtimes
from pillion_operator.builders.selection import Candidate
from pillion_operator.state.kinds import CLUSTER_SERVING_RUNTIME, RUNTIMES, SERVING_RUNTIME
from pillion_operator.state.manifest import Key, Manifest, key_of, object_at, version_of

if TYPE_CHECKING:
    from pillion_operator.observe.store import Store
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.settings import RenderSettings

__all__ = ["RuntimeCandidates"]

_log: Final = logging.getLogger(__name__)
_LIMIT: Final = 1000


class RuntimeCandidates:
    """Reads them from the store, each version once."""

    def __init__(self, store: Store, settings: RenderSettings, *, cluster_runtimes: bool) -> None:
        """Prepare; without `cluster_runtimes` the cluster's cannot be read, and the built-in ones are taken."""
        self._store = store
        self._settings = settings
        self._cluster_runtimes = cluster_runtimes
        self._read: dict[tuple[Kind, Key, str], Candidate | None] = {}

    def of(self, namespace: str) -> list[Candidate]:
        """Return those for services of the namespace."""
        stored = [(SERVING_RUNTIME, found) for found in self._store.all(SERVING_RUNTIME, namespace)]
        if self._cluster_runtimes:
            stored += [(CLUSTER_SERVING_RUNTIME, found) for found in self._store.all(CLUSTER_SERVING_RUNTIME)]
        else:
            stored += [(CLUSTER_SERVING_RUNTIME, found) for found in builtin_runtimes(self._settings)]
        found = (self._candidate(kind, manifest) for kind, manifest in stored if kind in RUNTIMES)
        return [candidate for candidate in found if candidate is not None]

    def _candidate(self, kind: Kind, manifest: Manifest) -> Candidate | None:
        identity = (kind, key_of(manifest), version_of(manifest))
        if identity not in self._read:
            if len(self._read) > _LIMIT:
                self._read.clear()
            try:
                spec = ServingRuntimeSpec.from_api(object_at(manifest, "spec"))
            except ValidationError as error:
                _log.warning("%s %s cannot be used: %s", kind.name, key_of(manifest), error.errors()[0]["msg"])
                self._read[identity] = None
            else:
                self._read[identity] = Candidate(kind.name, key_of(manifest).name, spec)
        return self._read[identity]
