"""Events: sentences for `kubectl describe`, each once, repeated ones counted."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pillion.libraries import Mismatch, mismatches
from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import EVENT
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    condition_of,
    key_of,
    number_at,
    object_at,
    text_at,
    texts_at,
    uid_of,
)
from pillion_operator.state.names import FIELD_MANAGER
from pillion_operator.state.reasons import REMEDIES, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources.base import JsonObject
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.observed import Outcome

__all__ = [
    "EventWriter", "Happening", "batch_happenings", "happenings", "kserve_happenings", "model_happenings",
    "training_happenings",
]  # fmt: skip

_log: Final = logging.getLogger(__name__)
_MESSAGE_LIMIT: Final = 1000
#: The same sentence about the same object is not repeated sooner.
_QUIET_SECONDS: Final = 60.0
_REMEMBERED: Final = 4096
_GOOD: Final = frozenset({"Starting", "Stopped"})
_GOOD_MODEL: Final = frozenset({"Progressing", "Stopped"})
_GOOD_TRAINING: Final = frozenset(
    {"Starting", "Queued", "Running", "Completed", "Canceled", "Suspended", "RollingOut", "Superseded", "RolledOut"}
)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something worth an event."""

    reason: str
    message: str
    warning: bool = False


def happenings(service: Manifest, status: JsonObject, outcome: Outcome) -> tuple[Happening, ...]:
    """Return what happened between the stored status and the new one. Pure."""
    found: list[Happening] = []
    if outcome.created:
        found.append(Happening("Created", f"Created {', '.join(outcome.created)}."))
    found += [Happening("Repaired", f"{text[:1].upper()}{text[1:]}.") for text in outcome.repaired]
    found += [Happening("RolloutStep", outcome.news)] if outcome.news else []
    found += [Happening("ModelRemoved", f"The model {name!r} leaves the pods.") for name in outcome.given_up]
    after: Manifest = {"status": status}
    for kind in ("Ready", "FieldsHonoured", "ScalingActive"):
        old, new = condition_of(service, kind), condition_of(after, kind)
        changed = (old.get("status"), old.get("reason")) != (new.get("status"), new.get("reason"))
        reason, good = text_at(new, "reason"), new.get("status") == "True"
        if changed and new and not (good and kind != "Ready") and (good or reason not in _GOOD):
            found.append(Happening(reason, text_at(new, "message"), warning=not good))
    found += _sharing(service, after)
    found += _mismatches(service, after)
    return tuple(found)


def _sharing(before: Manifest, after: Manifest) -> list[Happening]:
    """Return what became of the newest version's share, once it is asked for and once it is reached."""
    old, new = (object_at(one, "status", "canary") for one in (before, after))
    requested, actual = number_at(new, "requested"), number_at(new, "actual")
    asked = bool(new) and requested != number_at(old, "requested", default=-1)
    reached = bool(new) and actual == requested != number_at(old, "actual", default=-1)
    # Steps have events of their own.
    if text_at(new, "step") or not (asked or reached):
        return []
    former = f", {number_at(old, 'requested')} % before," if old and asked else ""
    text = f"The newest version is to have {requested} % of the requests{former} and has {actual} %"
    return [Happening("CanaryShare", f"{text} ({text_at(new, 'mechanism')}).")]


def model_happenings(model: Manifest, status: JsonObject) -> tuple[Happening, ...]:
    """Return what happened to a Model between the stored status and the new one. Pure.

    That it leaves the pods is said of its InferenceService: the Model is gone by then.
    """
    old, new = condition_of(model, "Ready"), condition_of({"status": status}, "Ready")
    served, reason = new.get("status") == "True", text_at(new, "reason")
    changed = (old.get("status"), old.get("reason")) != (new.get("status"), new.get("reason"))
    if not changed or reason in _GOOD_MODEL:
        return ()
    return (Happening(reason, text_at(new, "message"), warning=not served),)


def kserve_happenings(service: Manifest, status: JsonObject) -> tuple[Happening, ...]:
    """Return what happened to an InferenceService of KServe between the stored status and the new one. Pure."""
    found: list[Happening] = []
    for kind in ("Ready", "FieldsIgnored"):
        old, new = condition_of(service, kind), condition_of({"status": status}, kind)
        said = [(c.get("status"), c.get("reason"), kind == "Ready" or c.get("message")) for c in (old, new)]
        reason = text_at(new, "reason")
        if new and said[0] != said[1] and reason not in _GOOD:
            warning = kind != "Ready" or new.get("status") != "True"
            found.append(Happening(reason, text_at(new, "message"), warning=warning))
    return tuple(found)


def training_happenings(training: Manifest, status: JsonObject, outcome: Outcome) -> tuple[Happening, ...]:
    """Return what happened to a training between the stored status and the new one. Pure."""
    found = [Happening("Created", f"Created {', '.join(outcome.created)}.")] if outcome.created else []
    after: Manifest = {"status": status}
    before = object_at(training, "status")
    changed = any(text_at(before, field) != text_at(status, field) for field in ("state", "reason"))
    if changed and text_at(status, "reason") != "Starting":
        reason = text_at(status, "reason")
        found.append(Happening(reason, text_at(status, "message"), warning=reason not in _GOOD_TRAINING))
    for kind in ("Deployed", "FieldsHonoured"):
        old, new = condition_of(training, kind), condition_of(after, kind)
        differs = (old.get("status"), old.get("reason")) != (new.get("status"), new.get("reason"))
        good = new.get("status") == "True"
        if differs and new and not (good and kind == "FieldsHonoured"):
            reason = text_at(new, "reason")
            found.append(Happening(reason, text_at(new, "message"), warning=not good and reason not in _GOOD_TRAINING))
    return tuple(found)


def batch_happenings(batch: Manifest, status: JsonObject, outcome: Outcome) -> tuple[Happening, ...]:
    """Return what happened to a batch prediction between the stored status and the new one. Pure."""
    found = [Happening("Created", f"Created {', '.join(outcome.created)}.")] if outcome.created else []
    before = object_at(batch, "status")
    changed = any(text_at(before, field) != text_at(status, field) for field in ("state", "reason"))
    reason = text_at(status, "reason")
    if changed and reason != "Starting":
        found.append(Happening(reason, text_at(status, "message"), warning=reason not in _GOOD_TRAINING))
    old, new = condition_of(batch, "Stalled"), condition_of({"status": status}, "Stalled")
    if new.get("status") == "True" and text_at(new, "reason") not in {reason, text_at(old, "reason")}:
        found.append(Happening(text_at(new, "reason"), text_at(new, "message"), warning=True))
    return tuple(found)


def _mismatches(before: Manifest, after: Manifest) -> list[Happening]:
    """Return the libraries that now load in another version than saved, and did not do so before."""

    def known(service: Manifest) -> set[Mismatch]:
        found = object_at(service, "status", "modelStatus", "libraries")
        return set(mismatches(texts_at(found, "saved"), texts_at(found, "loading")))

    new = sorted(known(after) - known(before), key=str)
    remedy = REMEDIES[Reason.LIBRARY_MISMATCH]
    return [
        Happening(Reason.LIBRARY_MISMATCH, f"The model was {mismatch}: results may differ; {remedy}.", warning=True)
        for mismatch in new
    ]


class EventWriter:
    """Posts events; one that cannot be posted is logged and let go."""

    def __init__(self, client: KubernetesClient, identity: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._identity = identity
        self._clock = clock
        self._posted: dict[str, float] = {}

    async def post(self, service: Manifest, happening: Happening) -> None:
        """Post an event about the object."""
        message = happening.message[:_MESSAGE_LIMIT]
        identity = "\0".join((uid_of(service), happening.reason, message))
        name = f"{key_of(service).name}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        if self._clock() < self._posted.get(name, float("-inf")) + _QUIET_SECONDS:
            return
        if len(self._posted) >= _REMEMBERED:
            self._posted.clear()
        self._posted[name] = self._clock()
        key = Key(key_of(service).namespace, name)
        try:
            await self._client.create(EVENT, self._event(service, key, happening, message))
        except ApiError as error:
            if error.conflict:
                await self._count(key)
            elif not error.terminating:
                _log.warning("an event about %s could not be posted: %s", key_of(service), error)

    async def _count(self, key: Key) -> None:
        """Say that it happened again."""
        try:
            known = await self._client.get(EVENT, key)
            if known is not None:
                patch: Manifest = {"count": number_at(known, "count", default=1) + 1, "lastTimestamp": _now()}
                await self._client.merge(EVENT, key, patch)
        except ApiError as error:
            _log.warning("event %s could not be counted: %s", key, error)

    def _event(self, service: Manifest, key: Key, happening: Happening, message: str) -> Manifest:
        now = _now()
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"namespace": key.namespace, "name": key.name},
            "involvedObject": {
                "apiVersion": service.get("apiVersion"),
                "kind": service.get("kind"),
                "namespace": key.namespace,
                "name": key_of(service).name,
                "uid": uid_of(service),
                "resourceVersion": text_at(service, "metadata", "resourceVersion"),
            },
            "reason": happening.reason,
            "message": message,
            "type": "Warning" if happening.warning else "Normal",
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._identity[:128],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
