"""One InferenceService of KServe: one of ours stands for it, and its status is KServe's again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.builders.kserve_child import child_of, is_as_applied, stands_for
from pillion_operator.client.errors import ApiError
from pillion_operator.judge.kserve import mirrored_status, refused_status
from pillion_operator.report.events import Happening, kserve_happenings
from pillion_operator.state.kinds import (
    CLUSTER_SERVING_RUNTIME,
    INFERENCE_SERVICE,
    KSERVE_INFERENCE_SERVICE,
    SERVING_RUNTIME,
)
from pillion_operator.state.kserve import claim_of
from pillion_operator.state.manifest import (
    controller_uid,
    generation_of,
    is_deleting,
    key_of,
    object_at,
    timestamp_of,
    uid_of,
    value_at,
    version_of,
)
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources import JsonObject
    from pillion_operator.builders.kserve_child import KServeChild
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.observe.kserve_controller import KServeController
    from pillion_operator.observe.store import Store
    from pillion_operator.report.events import EventWriter
    from pillion_operator.report.status import StatusWriter
    from pillion_operator.state.kserve import Claim, KServeScope
    from pillion_operator.state.manifest import Key, Manifest

__all__ = ["KServeParts", "KServeReconciler"]

_log: Final = logging.getLogger(__name__)
#: Until somebody else's refusal, or controller, is looked at again: no watch tells of them.
_AGAIN_SECONDS: Final = 60.0
#: What an apply is refused for that was meant for an object before the one that is there.
_UID: Final = "metadata.uid"
_FUTILE: Final = (
    "spec: something in the cluster, such as a mutating webhook, changes what is applied for it to the "
    "InferenceService of Pillion; exempt that from the change, or write the same here"
)
#: What keeps a child from being made, and whose end a watch tells of.
_WATCHED: Final = (Reason.INVALID_SPEC, Reason.NAME_CONFLICT)


@dataclass(frozen=True, slots=True)
class KServeParts:
    """What a reconcile of KServe's InferenceService is made of."""

    client: KubernetesClient
    store: Store
    controller: KServeController
    status: StatusWriter
    events: EventWriter
    scope: KServeScope
    wall_clock: Callable[[], float]


class KServeReconciler:
    """Keeps the child of one InferenceService of KServe, and its status. The child is reconciled like any other."""

    def __init__(self, parts: KServeParts) -> None:
        self._parts = parts
        self._told: dict[Key, str] = {}
        #: Where a write does not last: what was wanted, and what it was turned into.
        self._futile: dict[Key, tuple[Manifest, Manifest]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Bring the child and the status up to date; return the seconds after which to look again.

        Raises:
            ApiError: the API server could not be asked, or another writer was faster; try again.
        """
        store = self._parts.store
        stored = store.get(KSERVE_INFERENCE_SERVICE, key)
        if stored is None or is_deleting(stored):
            self._told.pop(key, None)
            self._futile.pop(key, None)
            return None  # The garbage collector takes the child.
        claim = claim_of(stored, self._parts.scope, controller=False)
        if claim.ours:
            # Asked only about what is chosen: the others are nobody's business here.
            claim = claim_of(stored, self._parts.scope, controller=await self._parts.controller.installed())
        if not claim.ours:
            return await self._leave(stored, claim)
        runtimes = (*store.all(SERVING_RUNTIME, key.namespace), *store.all(CLUSTER_SERVING_RUNTIME))
        plan = child_of(stored, runtimes)
        if plan.refused:
            text = sentence(" ".join(plan.refused), Reason.INVALID_SPEC)
            return await self._refuse(stored, Reason.INVALID_SPEC, text)
        live = await self._live(key)
        if live is not None and controller_uid(live) != uid_of(stored):
            return await self._in_the_way(stored, live)
        try:
            child = await self._applied(plan, live)
        except ApiError as error:
            if error.terminating:
                return None
            # Another object than the one that is known: the watch is about to tell of it.
            if not error.refused or _UID in error.fields:
                raise
            reason = Reason.FORBIDDEN if error.status == 403 else Reason.REFUSED
            text = f"the API server refused the InferenceService that stands for it: {error.message}"
            return await self._refuse(stored, reason, sentence(text, reason), lasting=reason is Reason.REFUSED)
        removed = (*plan.removed, _FUTILE) if key in self._futile else plan.removed
        status = mirrored_status(stored, child, removed, timestamp_of(self._parts.wall_clock()))
        if status is not None:
            await self._write(stored, status)
        return None

    async def _live(self, key: Key) -> Manifest | None:
        known = self._parts.store.get(INFERENCE_SERVICE, key)
        return known if known is not None else await self._parts.client.get(INFERENCE_SERVICE, key)

    async def _applied(self, plan: KServeChild, live: Manifest | None) -> Manifest:
        """Return the child as it is stored, brought to what is wanted where it differs.

        Server-side apply takes away what was applied once; what somebody else added to the spec takes a replacement.
        """
        wanted, key = plan.manifest, key_of(plan.manifest)
        if live is not None and (is_deleting(live) or self._need_not_be_written(key, wanted, live)):
            return live
        # Somebody's object may have taken the place of the one that is known: then it is a conflict.
        identity: JsonObject = {} if live is None else {"uid": uid_of(live)}
        metadata = object_at(wanted, "metadata") | identity
        stored = await self._parts.client.apply(INFERENCE_SERVICE, {**wanted, "metadata": metadata})
        if value_at(stored, "spec") != value_at(wanted, "spec"):
            stored = await self._parts.client.replace(INFERENCE_SERVICE, {**stored, "spec": value_at(wanted, "spec")})
        if not is_as_applied(wanted, stored):
            # To write it again at each look would go on for ever.
            self._futile[key] = (wanted, stored)
            _log.warning("InferenceService %s, which stands for KServe's: %s", key, _FUTILE)
            return stored
        self._futile.pop(key, None)
        what = "made" if live is None else "set right"
        _log.info("%s InferenceService %s, which stands for KServe's", what, key_of(wanted))
        return stored

    def _need_not_be_written(self, key: Key, wanted: Manifest, live: Manifest) -> bool:
        """Whether it is what was applied, or what that was turned into by somebody who does so with every write."""
        if is_as_applied(wanted, live):
            self._futile.pop(key, None)
            return True
        before, became = self._futile.get(key, ({}, {}))
        return before == wanted and is_as_applied(became, live)

    async def _in_the_way(self, stored: Manifest, live: Manifest) -> float | None:
        if stands_for(stored, live):
            # Left by an InferenceService of KServe that is gone; the garbage collector may be slow or absent.
            await self._parts.client.delete(INFERENCE_SERVICE, key_of(live), uid=uid_of(live))
            raise ApiError(409, "Conflict", f"the InferenceService of the former {key_of(live)} is being deleted")
        text = f"an InferenceService of Pillion called {key_of(live).name!r} is there and was not touched"
        remedy = "delete or rename that one, or give this one another name"
        return await self._refuse(stored, Reason.NAME_CONFLICT, sentence(text, Reason.NAME_CONFLICT, remedy))

    async def _leave(self, stored: Manifest, claim: Claim) -> float | None:
        """Leave it to whoever else serves it, and say so where that was not asked for."""
        live = self._parts.store.get(INFERENCE_SERVICE, key_of(stored))
        ours = live is not None and controller_uid(live) == uid_of(stored) and not is_deleting(live)
        if claim.given_up and ours and live is not None:
            _log.info("deleting InferenceService %s: KServe's is not ours to serve any more", key_of(live))
            await self._parts.client.delete(INFERENCE_SERVICE, key_of(live), uid=uid_of(live))
        if not claim.why:
            self._told.pop(key_of(stored), None)
            return None
        if self._told.get(key_of(stored)) != claim.why:
            self._told[key_of(stored)] = claim.why
            await self._parts.events.post(stored, Happening("LeftToKServe", claim.why, warning=True))
        return _AGAIN_SECONDS

    async def _refuse(self, stored: Manifest, reason: str, text: str, *, lasting: bool = True) -> float | None:
        timestamp = timestamp_of(self._parts.wall_clock())
        await self._write(stored, refused_status(stored, reason, text, timestamp, lasting=lasting))
        return None if reason in _WATCHED else _AGAIN_SECONDS

    async def _write(self, stored: Manifest, status: JsonObject) -> None:
        latest = self._parts.store.get(KSERVE_INFERENCE_SERVICE, key_of(stored))
        if latest is None or uid_of(latest) != uid_of(stored) or generation_of(latest) != generation_of(stored):
            return  # What has changed meanwhile is in the queue.
        if version_of(latest) != version_of(stored) and value_at(latest, "status") != value_at(stored, "status"):
            return
        news = kserve_happenings(stored, status)
        await self._parts.status.write(stored, status, KSERVE_INFERENCE_SERVICE)
        for happening in news:
            await self._parts.events.post(stored, happening)
