"""Whether an InferenceService has arrived at what was applied, from its status alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from pillion.cli.cluster.objects import condition, generation, number_at, text_at

if TYPE_CHECKING:
    from pillion.cli.cluster.objects import Object

__all__ = ["Arrival", "Stage", "arrival"]

_PATIENT: Final = frozenset({"", "Starting", "Progressing", "Unschedulable", "NotSeen", "Stopping"})
"""Reasons that pass by themselves, or by a node that an autoscaler adds."""


@unique
class Stage(StrEnum):
    """Where a rollout is."""

    WAITING = "waiting"
    IN_TROUBLE = "in trouble"
    """Something is wrong that may pass, such as a Secret that is still to come; if it lasts it has failed."""
    STALLED = "stalled"
    """The operator says that nothing gets better unless somebody acts."""
    ARRIVED = "arrived"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a rollout is, and in words why."""

    stage: Stage
    reason: str
    message: str


def arrival(service: Object) -> Arrival:
    """Judge the newest generation; what the status says of an earlier one does not count."""
    ready = condition(service, "Ready")
    if not ready:
        return Arrival(Stage.WAITING, "NotSeen", "no operator has looked at it yet")
    if number_at(ready, "observedGeneration") < generation(service):
        return Arrival(Stage.WAITING, "NotSeen", "the operator has not seen the change yet")
    reason, message = text_at(ready, "reason"), text_at(ready, "message")
    stalled = condition(service, "Stalled")
    if stalled.get("status") == "True":
        return Arrival(Stage.STALLED, text_at(stalled, "reason"), text_at(stalled, "message"))
    reconciling = condition(service, "Reconciling")
    stopped = condition(service, "Stopped").get("status") == "True"
    if (ready.get("status") == "True" or stopped) and reconciling.get("status") == "False":
        return Arrival(Stage.ARRIVED, reason, message)
    failed = _failed_copy(service)
    if failed is not None:
        return failed
    if ready.get("status") == "True":
        return Arrival(Stage.WAITING, text_at(reconciling, "reason"), text_at(reconciling, "message"))
    return Arrival(Stage.WAITING if reason in _PATIENT else Stage.IN_TROUBLE, reason, message)


def _failed_copy(service: Object) -> Arrival | None:
    """The failure of a pod of the newest version, which Ready does not tell while the older one answers."""
    if text_at(service, "status", "modelStatus", "transitionStatus") != "BlockedByFailedLoad":
        return None
    said = text_at(service, "status", "modelStatus", "lastFailureInfo", "message")
    reason = text_at(service, "status", "modelStatus", "lastFailureInfo", "reason")
    return Arrival(Stage.IN_TROUBLE, reason or "BlockedByFailedLoad", said or "the newest version does not load")
