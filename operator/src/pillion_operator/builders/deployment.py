"""The Deployment of the predictor. It never carries `replicas`: see `pillion_operator.apply.scale`."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.resources.conventions import is_paused
from pillion.trainingpod.order import seconds_of
from pillion_operator.builders.merge import without_duplicates
from pillion_operator.builders.pod import pod_template
from pillion_operator.state.kinds import DEPLOYMENT
from pillion_operator.state.manifest import object_at
from pillion_operator.state.names import REVISION_ANNOTATION
from pillion_operator.state.plan import Note
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext

__all__ = ["MIN_READY_SECONDS", "deployment", "revision_of", "rollout_gaps"]

#: A pod that is Ready for this long counts as available: time for every node to learn its address.
MIN_READY_SECONDS: Final = 3
_PROGRESS_DEADLINE: Final = "10m"
_REVISIONS: Final = 3


def deployment(context: BuildContext) -> tuple[JsonObject, tuple[Note, ...]]:
    """Return the Deployment, and a note of entries that stood twice in the merged pod.

    Raises:
        PlanError: the model's storage cannot be reached from a pod.
    """
    template, dropped = without_duplicates(pod_template(context))
    _stamp(template)
    asked = _progress_deadline(context)
    deadline = max(asked, MIN_READY_SECONDS + 1)
    spec: JsonObject = {
        "selector": {"matchLabels": dict(context.selector)},
        "strategy": _strategy(context),
        "minReadySeconds": MIN_READY_SECONDS,
        "progressDeadlineSeconds": deadline,
        "revisionHistoryLimit": _REVISIONS,
        "template": template,
    }
    if is_paused(context.service.metadata):
        spec["paused"] = True
    notes: list[Note] = []
    if dropped:
        notes.append(Note(Reason.DUPLICATE_ENTRIES, f"entries stand twice in the pod: {', '.join(dropped)}"))
    if asked < deadline:
        text = f"spec.predictor.rollout.progressDeadline (a pod is available {deadline - 1} s after it is ready: "
        notes.append(Note(Reason.FIELDS_NOT_HONOURED, f"{text}{deadline}s is the least)"))
    return context.manifest(DEPLOYMENT, context.child_name, {"spec": spec}), tuple(notes)


def _progress_deadline(context: BuildContext) -> int:
    rollout = context.predictor.rollout
    return math.ceil(seconds_of((rollout and rollout.progress_deadline) or _PROGRESS_DEADLINE))


def revision_of(template: JsonObject) -> str:
    """Return the digest of a template by which pods of the newest version are told from older ones."""
    return hashlib.sha256(msgspec.json.encode(template, order="deterministic")).hexdigest()[:10]


def _stamp(template: JsonObject) -> None:
    revision = revision_of(template)
    object_at(template, "metadata", "annotations")[REVISION_ANNOTATION] = revision


def _strategy(context: BuildContext) -> JsonObject:
    given = context.predictor.deployment_strategy
    if given is not None and given.type == "Recreate":
        return {"type": "Recreate"}
    rollout = context.predictor.rollout
    frugal = given is None and rollout is not None and rollout.mode == "ResourceAware"
    rolling: JsonObject = {"maxSurge": 0, "maxUnavailable": 1} if frugal else {"maxSurge": 1, "maxUnavailable": 0}
    if given is not None and given.rolling_update is not None:
        rolling |= given.rolling_update.to_api()
    return {"type": "RollingUpdate", "rollingUpdate": rolling}


def rollout_gaps(context: BuildContext) -> list[str]:
    """Return what of the rollout is set and has no effect."""
    rollout, found = context.predictor.rollout, list[str]()
    if rollout is None:
        return found
    if rollout.mode and context.predictor.deployment_strategy is not None:
        found.append("spec.predictor.rollout.mode beside deploymentStrategy, which decides")
    percent = context.predictor.canary_traffic_percent
    if rollout.steps and percent is not None:
        found.append("spec.predictor.rollout.steps beside canaryTrafficPercent, which decides")
    if rollout.analysis is None:
        return found
    if not rollout.steps and percent is None:
        found.append("spec.predictor.rollout.analysis without steps or canaryTrafficPercent: nobody has a share")
    elif rollout.analysis.error_rate is None and rollout.analysis.latency is None:
        found.append("spec.predictor.rollout.analysis without errorRate or latency: there is nothing to hold to")
    elif not context.ours:
        name = context.container.get("name")
        found.append(
            f"spec.predictor.rollout.analysis on the container {name!r}, which is not Pillion's runtime: nobody counts "
            "its requests, so no step passes"
        )
    return found
