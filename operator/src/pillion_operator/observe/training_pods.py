"""The pods of a training or batch prediction whose Job has ended, past the caches.

Pods and Jobs come by watches of their own, in no order between them: the news that a Job is complete may be first, and
the pod's last word, which says where the model is, is read once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.kinds import POD
from pillion_operator.state.manifest import controller_uid, key_of, uid_of
from pillion_operator.state.names import TRAINING_LABEL

if TYPE_CHECKING:
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.manifest import Manifest

__all__ = ["TrainingPodReader"]


class TrainingPodReader:
    """Lists the pods of one object."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def read(self, owner: Manifest, job: Manifest, label: str = TRAINING_LABEL) -> tuple[Manifest, ...]:
        """Return the pods that the Job has made.

        Raises:
            ApiError: the server could not be asked.
        """
        key = key_of(owner)
        listing = await self._client.list(POD, key.namespace, label_selector=f"{label}={key.name}")
        return tuple(pod for pod in listing.items if controller_uid(pod) == uid_of(job))
