"""The built-in ClusterServingRuntimes: applied by the leader, with the edits of users kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.apply.drift import differences
from pillion_operator.builders.builtin import builtin_runtimes
from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import CLUSTER_SERVING_RUNTIME
from pillion_operator.state.manifest import key_of

if TYPE_CHECKING:
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.observe.store import Store
    from pillion_operator.state.settings import RenderSettings

__all__ = ["apply_builtin_runtimes"]

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
