"""Making kubelets bring a changed ConfigMap to running pods at once.

A kubelet looks at the volumes of a pod when the pod changes, and else about once a minute. So an annotation of each pod
says which models it is to see.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import POD
from pillion_operator.state.manifest import Manifest, annotations_of, is_deleting, key_of, text_at, uid_of
from pillion_operator.state.names import MODELS_HASH_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.kinds import Kind

__all__ = ["PodNudger"]

_log: Final = logging.getLogger(__name__)


class PodNudger:
    """Writes that annotation."""

    def __init__(self, client: KubernetesClient, record: Callable[[Kind, Manifest], object]) -> None:
        self._client = client
        self._record = record
        self._refused = False

    async def nudge(self, pods: Iterable[Manifest], digest: str) -> None:
        """Say it to every pod on a node that says something else; without the right, pods are a minute late.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster.
        """
        for pod in pods:
            if annotations_of(pod).get(MODELS_HASH_ANNOTATION, "") == digest or not _has_volumes(pod):
                continue
            # The uid keeps a pod of the same name that came after it from being taken for it.
            metadata: Manifest = {"uid": uid_of(pod), "annotations": {MODELS_HASH_ANNOTATION: digest or None}}
            try:
                self._record(POD, await self._client.merge(POD, key_of(pod), {"metadata": metadata}))
            except ApiError as error:
                if error.not_found or error.conflict:
                    continue
                if not error.refused:
                    raise
                if not self._refused:
                    _log.warning("declared models reach pods a minute late, their annotations are refused: %s", error)
                self._refused = True
                return


def _has_volumes(pod: Manifest) -> bool:
    """Whether a kubelet keeps the pod's volumes: before it mounts them it reads what is newest anyway."""
    phase, placed = text_at(pod, "status", "phase"), text_at(pod, "status", "podIP")
    return bool(placed) and phase in {"Pending", "Running"} and not is_deleting(pod)
