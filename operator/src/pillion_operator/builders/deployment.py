"""The Deployment of the predictor. It never carries `replicas`: see `pillion_operator.apply.scale`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from pillion_operator.builders.merge import without_duplicates
from pillion_operator.builders.pod import pod_template
from pillion_operator.state.kinds import DEPLOYMENT
from pillion_operator.state.manifest import object_at
from pillion_operator.state.names import REVISION_ANNOTATION, owner_labels
from pillion_operator.state.plan import Note
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext

__all__ = ["deployment", "revision_of"]

#: A pod that is Ready for this long counts as available: time for every node to learn its address.
_MIN_READY_SECONDS: Final = 3
_PROGRESS_DEADLINE_SECONDS: Final = 600
_REVISIONS: Final = 3


def deployment(context: BuildContext) -> tuple[JsonObject, tuple[Note, ...]]:
    """Return the Deployment, and a note of entries that stood twice in the merged pod.

    Raises:
        PlanError: the model's storage cannot be reached from a pod.
    """
    template, dropped = without_duplicates(pod_template(context))
    _stamp(template)
    body: JsonObject = {
        "spec": {
            "selector": {"matchLabels": dict(owner_labels(context.name))},
            "strategy": _strategy(context),
            "minReadySeconds": _MIN_READY_SECONDS,
            "progressDeadlineSeconds": _PROGRESS_DEADLINE_SECONDS,
            "revisionHistoryLimit": _REVISIONS,
            "template": template,
        }
    }
    notes: tuple[Note, ...] = ()
    if dropped:
        notes = (Note(Reason.DUPLICATE_ENTRIES, f"entries stand twice in the pod: {', '.join(dropped)}"),)
    return context.manifest(DEPLOYMENT, context.child_name, body), notes


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
