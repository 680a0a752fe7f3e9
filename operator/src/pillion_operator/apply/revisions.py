"""Keeping revisions: one ControllerRevision for each that came to a verdict, the oldest ones deleted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import CONTROLLER_REVISION, INFERENCE_SERVICE
from pillion_operator.state.manifest import Key, Manifest, key_of, objects_at, text_at, uid_of
from pillion_operator.state.plan import Note
from pillion_operator.state.reasons import Reason
from pillion_operator.state.revisions import revisions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pillion.resources import JsonObject
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.revisions import Revision

__all__ = ["RevisionKeeper"]

_log: Final = logging.getLogger(__name__)


class RevisionKeeper:
    """Writes ControllerRevisions. `record` is told of every object that a write answered with."""

    def __init__(
        self,
        client: KubernetesClient,
        record: Callable[[Kind, Manifest], object],
        forget: Callable[[Kind, Key, str], object],
    ) -> None:
        self._client = client
        self._record = record
        self._forget = forget

    async def keep(self, wanted: JsonObject, known: Revision | None) -> Revision | Note:
        """Write the verdict; return the revision as it is kept, or why it cannot be.

        Args:
            wanted: the ControllerRevision with everything that it holds.
            known: the one of that digest that is there already. What it holds never changes, so only the verdict does.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        try:
            if known is None:
                created = await self._create(wanted)
                if isinstance(created, Note):
                    return created
                stored = created
            else:
                metadata = wanted["metadata"]
                assert isinstance(metadata, dict)  # noqa: S101 - a manifest of ours
                change: Manifest = {
                    "metadata": {"uid": known.uid, "annotations": metadata["annotations"]},
                    "revision": wanted["revision"],
                }
                stored = await self._client.merge(CONTROLLER_REVISION, key_of(wanted), change)
        except ApiError as error:
            if not error.refused:
                raise
            reason = Reason.FORBIDDEN if error.status == 403 else Reason.REFUSED
            return _unkept(wanted, reason, f"the API server refused it: {error.message}")
        self._record(CONTROLLER_REVISION, stored)
        return revisions_of([stored])[0]

    async def _create(self, wanted: JsonObject) -> Manifest | Note:
        try:
            return await self._client.create(CONTROLLER_REVISION, wanted)
        except ApiError as error:
            key = key_of(wanted)
            there = await self._client.get(CONTROLLER_REVISION, key) if error.conflict else None
            if there is None:
                raise
            name = text_at(objects_at(wanted, "metadata", "ownerReferences")[0], "name")
            owners = objects_at(there, "metadata", "ownerReferences")
            if any(owner.get("kind") == INFERENCE_SERVICE.name and owner.get("name") == name for owner in owners):
                # Left by a service of this name that is gone; the garbage collector may be slow or absent.
                await self._client.delete(CONTROLLER_REVISION, key, uid=uid_of(there))
                raise
            text = "there is one of this name that does not belong to this InferenceService, so it was not touched"
            return _unkept(wanted, Reason.NAME_CONFLICT, text)

    async def drop(self, namespace: str, revisions: Iterable[Revision]) -> None:
        """Delete revisions that are too many.

        Raises:
            ApiError: the API server could not be asked.
        """
        for revision in revisions:
            key = Key(namespace, revision.name)
            await self._client.delete(CONTROLLER_REVISION, key, uid=revision.uid)
            self._forget(CONTROLLER_REVISION, key, revision.uid)


def _unkept(wanted: JsonObject, reason: Reason, why: str) -> Note:
    text = f"ControllerRevision {key_of(wanted).name!r} cannot be kept, so no rollout can go back by it: {why}"
    _log.warning("InferenceService in %s: %s", key_of(wanted).namespace, text)
    return Note(reason, text)
