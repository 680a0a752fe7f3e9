"""Serving runtimes: the built-in ones are applied by the leader, with the edits of users kept; all get a status."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.apply.drift import differences
from pillion_operator.builders.builtin import builtin_runtimes
from pillion_operator.client.errors import ApiError
from pillion_operator.judge.runtime import runtime_status
from pillion_operator.state.kinds import CLUSTER_SERVING_RUNTIME, SERVING_RUNTIME
from pillion_operator.state.manifest import is_deleting, key_of, timestamp_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.observe.store import Store
    from pillion_operator.report.status import StatusWriter
    from pillion_operator.state.manifest import Key
    from pillion_operator.state.settings import RenderSettings

__all__ = ["RuntimeReporter", "apply_builtin_runtimes"]

_log: Final = logging.getLogger(__name__)


async def apply_builtin_runtimes(client: KubernetesClient, store: Store, settings: RenderSettings) -> None:
    """Create or update the built-in runtimes; one whose fields somebody else owns now is left as it is.

    Raises:
        ApiError: the API server could not be asked.
    """
    for manifest in builtin_runtimes(settings):
        live = store.get(CLUSTER_SERVING_RUNTIME, key_of(manifest))
        if live is not None and not differences(manifest, live):
            continue
        try:
            stored = await client.apply(CLUSTER_SERVING_RUNTIME, manifest, force=False)
        except ApiError as error:
            if not error.conflict:
                raise
            _log.info("ClusterServingRuntime %s was edited and is kept as it is: %s", key_of(manifest), error.message)
        else:
            store.record(CLUSTER_SERVING_RUNTIME, stored)


class RuntimeReporter:
    """Says of one serving runtime whether services can use it."""

    def __init__(self, store: Store, status: StatusWriter, wall_clock: Callable[[], float]) -> None:
        self._store = store
        self._status = status
        self._wall_clock = wall_clock

    async def reconcile(self, key: Key) -> None:
        """Write the status where it changed.

        Raises:
            ApiError: the API server could not be asked; try again.
        """
        kind = SERVING_RUNTIME if key.namespace else CLUSTER_SERVING_RUNTIME
        stored = self._store.get(kind, key)
        if stored is None or is_deleting(stored):
            return
        timestamp = timestamp_of(self._wall_clock())
        await self._status.write(stored, runtime_status(stored, timestamp), kind)
