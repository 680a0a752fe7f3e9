"""Trainings that a service's own pods are asked for: what these are told, and the rights to make TrainingJobs.

The rights go to the ServiceAccount that the manifest names, in the service's namespace only. Source:
rbac.authorization.k8s.io/v1; `create` and `list` cannot be granted by name, and trainings have no names beforehand.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pillion_operator.builders.merge import merge_objects
from pillion_operator.state.kinds import ROLE, ROLE_BINDING, TRAINING_JOB
from pillion_operator.state.manifest import array, objects_at, text_at
from pillion_operator.state.names import service_trainings_name
from pillion_operator.state.plan import Child

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext
    from pillion_operator.state.kinds import Kind

__all__ = ["training_children", "training_gap", "training_settings"]

#: Verbs of pods on TrainingJobs. They follow one by getting it again, so `watch` is not needed; and cancelling is a
#: field, so `delete` is not.
VERBS: Final = ("create", "get", "list", "patch")
#: Of the service's pods, what those of its trainings have as well.
_POD_FIELDS: Final = (
    "imagePullSecrets", "nodeSelector", "tolerations", "runtimeClassName", "priorityClassName", "schedulerName",
    "securityContext", "volumes",
)  # fmt: skip
_CONTAINER_FIELDS: Final = ("image", "imagePullPolicy", "workingDir", "envFrom", "volumeMounts")
_SETTINGS: Final = "PILLION_"


def training_settings(context: BuildContext) -> JsonObject:
    """Return the runtime's `jobs` settings, nothing where trainings are none of the cluster's."""
    if context.predictor.own_trainings is None:
        return {}
    settings: JsonObject = {
        "inference_service": context.name,
        "training_spec": json.dumps(_template(context), sort_keys=True),
    }
    return settings | ({"follows_trainings": True} if context.predictor.follow_trainings else {})


def training_children(context: BuildContext, optional_kinds: frozenset[Kind]) -> list[Child]:
    """Return the Role and its binding where pods are to make TrainingJobs and the operator may grant that."""
    if context.predictor.own_trainings is None or not context.ours or ROLE not in optional_kinds:
        return []
    name = service_trainings_name(context.name)
    rule: JsonObject = {
        "apiGroups": [TRAINING_JOB.group],
        "resources": [TRAINING_JOB.plural],
        "verbs": [*VERBS],
    }
    subject: JsonObject = {"kind": "ServiceAccount", "name": _account(context), "namespace": context.namespace}
    bound: JsonObject = {
        "roleRef": {"apiGroup": ROLE.group, "kind": ROLE.name, "name": name},
        "subjects": [subject],
    }
    return [
        Child(ROLE, context.manifest(ROLE, name, {"rules": [rule]})),
        Child(ROLE_BINDING, context.manifest(ROLE_BINDING, name, bound)),
    ]


def training_gap(context: BuildContext) -> list[str]:
    """Return what of it is set and has no effect."""
    lack = context.predictor.trainings_lack
    if lack:
        return [f"spec.predictor.jobs.enabled without {lack}"]
    if context.predictor.own_trainings is None or context.ours:
        return []
    name = context.container.get("name")
    return [f"spec.predictor.jobs on the container {name!r}, which is not Pillion's runtime"]


def _account(context: BuildContext) -> str:
    return context.predictor.service_account_name or context.predictor.service_account or ""


def _template(context: BuildContext) -> JsonObject:
    """Return the spec that all trainings of the service have: its image, what its code needs, and its places."""
    jobs = context.predictor.own_trainings
    predictor = context.predictor.to_api()
    given = jobs.to_api() if jobs is not None else {}
    template: JsonObject = {
        **merge_objects(_of_pod(context.runtime_pod), _of_pod(predictor)),
        **{field: context.container[field] for field in _CONTAINER_FIELDS if field in context.container},
        **{field: value for field, value in given.items() if field != "enabled"},
        "serviceAccountName": _account(context),
    }
    # Settings of the server are none of a training's, and one of them is the token of its management.
    env = [one for one in objects_at(context.container, "env") if not text_at(one, "name").startswith(_SETTINGS)]
    return template | ({"env": array(env)} if env else {})


def _of_pod(given: JsonObject) -> JsonObject:
    return {field: given[field] for field in _POD_FIELDS if field in given}
