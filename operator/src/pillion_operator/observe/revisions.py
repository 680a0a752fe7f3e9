"""Reading what a kept revision holds. It never changes, so it is read once; few are ever read."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import CONTROLLER_REVISION
from pillion_operator.state.manifest import Key, object_at, uid_of

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.revisions import Revision

__all__ = ["RevisionReader"]

_REMEMBERED: Final = 256


class RevisionReader:
    """Reads ControllerRevisions in full: the caches have them without their data."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._known: OrderedDict[str, JsonObject] = OrderedDict()

    async def read(self, namespace: str, revision: Revision) -> JsonObject | None:
        """Return what it holds, None where it is gone.

        Raises:
            ApiError: the API server could not be asked.
        """
        if revision.uid not in self._known:
            found = await self._client.get(CONTROLLER_REVISION, Key(namespace, revision.name))
            if found is None or uid_of(found) != revision.uid:
                return None
            self._known[revision.uid] = object_at(found, "data")
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(revision.uid)
        return self._known[revision.uid]
