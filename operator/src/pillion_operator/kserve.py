"""KServe mode: whoever asks KServe's API is served, where an installation wants that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pillion_operator.observe.kserve_controller import KServeController
from pillion_operator.reconcile.kserve import KServeParts, KServeReconciler
from pillion_operator.reconcile.workers import Workers
from pillion_operator.reconcile.workqueue import Workqueue
from pillion_operator.report.events import EventWriter
from pillion_operator.report.status import StatusWriter
from pillion_operator.state.kinds import INFERENCE_SERVICE, KSERVE_INFERENCE_SERVICE, RUNTIMES, Kind
from pillion_operator.state.manifest import Key, Manifest, generation_of, key_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.observe.store import Store
    from pillion_operator.settings import OperatorSettings

__all__ = ["KServeMode"]

_WORKERS: Final = 4


def _uncounted(outcome: str, seconds: float) -> None:
    """Take no measure: the child's reconcile is counted."""
    del outcome, seconds


class KServeMode:
    """The queue of KServe's InferenceServices and its workers. Where the mode is off, nothing ever gets into it."""

    def __init__(self, store: Store, settings: OperatorSettings, changed: Callable[[Kind, Manifest], None]) -> None:
        """Prepare; `changed` is told of an object whose spec was found to be another one while a status was written."""
        self._store = store
        self._settings = settings
        self._changed = changed
        self._queue: Workqueue[Key] = Workqueue(time.monotonic)

    def look_at(self, kind: Kind, manifest: Manifest) -> None:
        """Enqueue what an object bears on: itself, the one that it stands for, or those that may choose a runtime."""
        if kind == KSERVE_INFERENCE_SERVICE:
            self._queue.add(key_of(manifest))
        elif kind == INFERENCE_SERVICE:
            if self._store.get(KSERVE_INFERENCE_SERVICE, key_of(manifest)) is not None:
                self._queue.add(key_of(manifest))
        elif kind in RUNTIMES:
            namespace = key_of(manifest).namespace
            for key in self._store.keys(KSERVE_INFERENCE_SERVICE):
                if namespace in {"", key.namespace}:
                    self._queue.add(key)

    def look_at_all(self) -> None:
        """Enqueue everything."""
        for key in self._store.keys(KSERVE_INFERENCE_SERVICE):
            self._queue.add(key)

    async def run(self, client: KubernetesClient, leading: asyncio.Event) -> None:
        """Work until cancelled."""
        reconciler = KServeReconciler(
            KServeParts(
                client,
                self._store,
                KServeController(client, time.monotonic),
                StatusWriter(client, self._written),
                EventWriter(client, self._settings.identity, time.monotonic),
                self._settings.kserve_objects,
                time.time,
            )
        )
        workers = Workers(self._queue, reconciler.reconcile, _uncounted, _WORKERS, "KServe's InferenceService")
        await workers.run(leading)

    def _written(self, kind: Kind, manifest: Manifest) -> None:
        """Record a status of ours."""
        before = self._store.get(kind, key_of(manifest))
        if before is None:
            return
        if self._store.record(kind, manifest) and generation_of(before) != generation_of(manifest):
            self._changed(kind, manifest)
