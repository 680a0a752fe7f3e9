"""The Job of a training or batch prediction: made once, suspended and resumed, deleted where it is cancelled."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.apply.children import refused
from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import JOB
from pillion_operator.state.manifest import (
    Manifest,
    annotations_of,
    controller_uid,
    is_deleting,
    key_of,
    objects_at,
    uid_of,
)
from pillion_operator.state.names import SPEC_HASH_ANNOTATION
from pillion_operator.state.observed import Outcome
from pillion_operator.state.plan import Child, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources import JsonObject
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.kinds import Kind

__all__ = ["JobApplier"]

_log: Final = logging.getLogger(__name__)


class JobApplier:
    """Makes and changes Jobs. `record` is told of every object that a write answered with."""

    def __init__(self, client: KubernetesClient, record: Callable[[Kind, Manifest], object]) -> None:
        self._client = client
        self._record = record

    async def create(self, training: Manifest, wanted: JsonObject) -> Outcome:
        """Make the Job.

        Raises:
            ApiError: the server could not be asked, or what is in the way is being deleted; try again.
        """
        # Only what carries our label is watched, so somebody else's object of this name would not be known.
        live = await self._client.get(JOB, key_of(wanted))
        if live is not None and controller_uid(live) != uid_of(training):
            return await self._in_the_way(training, live)
        if live is not None:
            self._record(JOB, live)
            return Outcome()
        try:
            self._record(JOB, await self._client.apply(JOB, wanted))
        except ApiError as error:
            if not error.refused:
                raise
            return Outcome(() if error.terminating else (refused(Child(JOB, wanted), error),), writes=1)
        return Outcome(created=(f"Job {key_of(wanted).name}",), writes=1)

    async def change(self, live: Manifest, changes: JsonObject, spec_hash: str, kind: str = "TrainingJob") -> Outcome:
        """Bring what may change of the Job in line; say what of the manifest cannot be.

        Raises:
            ApiError: the server could not be asked; try again.
        """
        problems: list[Problem] = []
        if annotations_of(live).get(SPEC_HASH_ANNOTATION) != spec_hash:
            text = "the spec was changed after the Job was made, which goes on as it was"
            remedy = f"undo the change, or create a {kind} of another name"
            problems.append(Problem(Reason.IMMUTABLE, text, "spec", transient=False, remedy=remedy))
        if not changes or is_deleting(live):
            return Outcome(tuple(problems))
        try:
            self._record(JOB, await self._client.merge(JOB, key_of(live), changes))
        except ApiError as error:
            if not error.refused:
                raise
            problems.append(refused(Child(JOB, live), error))
        return Outcome(tuple(problems), writes=1)

    async def delete(self, live: Manifest) -> None:
        """Delete the Job and its pods."""
        _log.info("deleting Job %s, whose training was cancelled", key_of(live))
        await self._client.delete(JOB, key_of(live), uid=uid_of(live))

    async def _in_the_way(self, training: Manifest, live: Manifest) -> Outcome:
        own = key_of(training)
        for owner in objects_at(live, "metadata", "ownerReferences"):
            if owner.get("kind") == training.get("kind") and owner.get("name") == own.name:
                # Left by an object of this name that is gone; the garbage collector may be slow or absent.
                await self._client.delete(JOB, key_of(live), uid=uid_of(live))
                raise ApiError(409, "Conflict", f"Job {key_of(live)} of the former {owner['kind']} is being deleted")
        name = key_of(live).name
        text = f"Job {name!r} exists and does not belong to this {training.get('kind')}, so it was not touched"
        remedy = f"rename or delete that Job, or give the {training.get('kind')} another name"
        return Outcome((Problem(Reason.NAME_CONFLICT, text, f"Job/{name}", transient=False, remedy=remedy),))
