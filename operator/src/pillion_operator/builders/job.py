"""What the Jobs of trainings and of batch predictions have in common.

A Job is made once: of a Job's template nothing can be changed, so a digest of what the manifest said then is kept on
it. What may change of it is written by merge patches, which never make one that is gone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from pillion_operator.builders.literal import literal
from pillion_operator.builders.merge import merge_objects, without_duplicates
from pillion_operator.builders.owner import owner_reference
from pillion_operator.builders.security import container_security, pod_security
from pillion_operator.state.kinds import JOB
from pillion_operator.state.manifest import array, object_at, objects_at, text_at
from pillion_operator.state.names import QUEUE_LABEL, SPEC_HASH_ANNOTATION, STORAGE_CONTAINER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import JsonValue

    from pillion.resources import BatchPrediction, JsonObject, TrainingJob
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.settings import RenderSettings

    JobOwner: TypeAlias = TrainingJob | BatchPrediction

__all__ = [
    "JobOwner",
    "JobPlaces",
    "container_resources",
    "environment",
    "failure_rules",
    "job_changes",
    "job_manifest",
    "lifetime_change",
    "pod_template",
    "spec_digest",
    "storage_step",
]

#: Exit codes of the storage step after which another pod would end the same way.
_STORAGE_CODES: Final = (10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 33, 34, 35)
_POD_FIELDS: Final = (
    "affinity", "automountServiceAccountToken", "imagePullSecrets", "nodeSelector", "priorityClassName",
    "runtimeClassName", "schedulerName", "securityContext", "serviceAccountName", "tolerations",
    "topologySpreadConstraints", "volumes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobPlaces:
    """Everything that the pods reach.

    Attributes:
        volumes: of the pod.
        mounts: of each container.
        env: credentials.
        fetched: the URI that the storage step fetches from, empty where there is no such step.
        link_root: the folder that links of the source may lead into.
    """

    volumes: tuple[JsonObject, ...]
    mounts: tuple[JsonObject, ...]
    env: tuple[JsonObject, ...]
    fetched: str
    link_root: str


def job_manifest(
    owner: JobOwner, uid: str, name: str, labels: Mapping[str, str], digest: str, body: JsonObject
) -> JsonObject:
    """Return the Job: `body` is what of its spec is its kind's own.

    It has no lifetime after its end until that end is recorded: see `lifetime_change`.
    """
    spec = owner.spec
    queue: dict[str, JsonValue] = {QUEUE_LABEL: spec.queue_name} if spec.queue_name else {}
    pods = spec.parallelism or 1
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {
            "name": name,
            "namespace": owner.metadata.namespace or "",
            "labels": {**labels, **queue},
            "annotations": {SPEC_HASH_ANNOTATION: digest},
            "ownerReferences": [owner_reference(owner, uid)],
        },
        "spec": {
            "completions": pods,
            "parallelism": pods,
            "suspend": bool(spec.suspend) or bool(spec.queue_name),
            # A pod that ends slowly must not write beside the one that replaces it.
            "podReplacementPolicy": "Failed",
            **body,
            **_limits(owner),
        },
    }


def spec_digest(owner: JobOwner, changeable: Iterable[str]) -> str:
    """Return the digest of all of the spec that cannot be changed once the Job is there."""
    left_out = frozenset(changeable)
    fixed = {field: value for field, value in owner.spec.to_api().items() if field not in left_out}
    return hashlib.sha256(msgspec.json.encode(fixed, order="deterministic")).hexdigest()[:16]


def job_changes(owner: JobOwner, live: Manifest) -> JsonObject:
    """Return the merge patch of what may change on a Job that has not ended, empty where nothing does.

    Whether a Job with a queue is suspended is for Kueue to say.
    """
    # What the API server writes where nothing is said; former releases made Jobs with a lifetime.
    unsaid: JsonObject = {"backoffLimit": 6, "activeDeadlineSeconds": None, "ttlSecondsAfterFinished": None}
    wanted = unsaid | _limits(owner)
    if not owner.spec.queue_name:
        wanted["suspend"] = bool(owner.spec.suspend)
    return _patch(wanted, live)


def lifetime_change(owner: JobOwner, live: Manifest) -> JsonObject:
    """Return the merge patch of how long a Job stays whose end has been recorded, empty where it has it.

    Not before: a Job that ended and was removed while nobody looked could not be told from one that was never made,
    and would be made again; and its result would be gone.
    """
    return _patch({"ttlSecondsAfterFinished": owner.spec.ttl_seconds_after_finished}, live)


def failure_rules(template: JsonObject, codes: Mapping[str, tuple[int, ...]]) -> list[JsonObject]:
    """Return what the Job makes of ended pods. Source: batch/v1 PodFailurePolicy; the first rule that fits counts.

    Args:
        template: of its pods.
        codes: by the container, with which it ends where another pod would end the same way.
    """
    taken: JsonObject = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    # A rule may name only a container that the pod has.
    steps = objects_at(template, "spec", "initContainers")
    if any(text_at(step, "name") == STORAGE_CONTAINER for step in steps):
        codes = {STORAGE_CONTAINER: _STORAGE_CODES, **codes}
    return [taken, *(_fails(container, numbers) for container, numbers in codes.items())]


def pod_template(
    owner: JobOwner,
    labels: Mapping[str, str],
    steps: list[JsonObject],
    places: JobPlaces,
    grace: int,
    settings: RenderSettings,
) -> JsonObject:
    """Return the template of its pods: all of `steps` but the last come one after another before it."""
    spec = owner.spec
    secrets: list[JsonObject] = [{"name": name} for name in settings.image_pull_secrets]
    base: JsonObject = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace,
        "securityContext": pod_security(),
        "volumes": array(places.volumes),
        **({"imagePullSecrets": array(secrets)} if secrets else {}),
    }
    pod = merge_objects(base, {field: value for field, value in spec.to_api().items() if field in _POD_FIELDS})
    if steps[:-1]:
        pod["initContainers"] = array(steps[:-1])
    pod["containers"] = array(steps[-1:])
    metadata: JsonObject = {"labels": {**(spec.labels or {}), **labels}}
    if spec.annotations:
        metadata["annotations"] = dict(spec.annotations)
    template, _ = without_duplicates({"metadata": metadata, "spec": pod})  # two Secrets may bring one variable
    return template


def storage_step(
    owner: JobOwner, places: JobPlaces, folder: str, digest: str | None, settings: RenderSettings
) -> JsonObject:
    """Return the step that fetches `places.fetched` into a folder, which must have the digest where one is given."""
    arguments = ["--uri", literal(places.fetched), "--dest", folder]
    if places.link_root:
        arguments += ["--link-root", places.link_root]
    if digest:
        arguments += ["--digest", digest]
    return {
        "name": STORAGE_CONTAINER,
        "image": settings.runtime_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "pillion.storage"],
        "args": array(arguments),
        "env": array(environment(owner, places)),
        "resources": {"requests": dict(settings.storage_requests)},
        "volumeMounts": array(places.mounts),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def environment(owner: JobOwner, places: JobPlaces) -> list[JsonObject]:
    """Return the storage's credentials, and the manifest's variables, which win."""
    given = objects_at(owner.spec.to_api(), "env")
    chosen = {variable.get("name") for variable in given}
    return [*(variable for variable in places.env if variable["name"] not in chosen), *given]


def container_resources(owner: JobOwner, places: JobPlaces, settings: RenderSettings) -> JsonObject:
    """Return the image, the resources and the mounts of the container that the manifest describes."""
    spec = owner.spec
    mounts = spec.to_api().get("volumeMounts") or []
    requests: JsonObject = {"requests": dict(settings.requests)}
    return {
        "image": spec.image or settings.runtime_image,
        "imagePullPolicy": spec.image_pull_policy or settings.image_pull_policy,
        "resources": merge_objects(requests, spec.resources.to_api() if spec.resources else {}),
        **merge_objects({"volumeMounts": array(places.mounts)}, {"volumeMounts": mounts}),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _limits(owner: JobOwner) -> JsonObject:
    given = {
        "backoffLimit": owner.spec.backoff_limit,
        "activeDeadlineSeconds": owner.spec.active_deadline_seconds,
    }
    return {field: value for field, value in given.items() if value is not None}


def _patch(wanted: JsonObject, live: Manifest) -> JsonObject:
    spec = object_at(live, "spec")
    changes: JsonObject = {field: value for field, value in wanted.items() if spec.get(field) != value}
    return {"spec": changes} if changes else {}


def _fails(container: str, codes: tuple[int, ...]) -> JsonObject:
    on: JsonObject = {"containerName": container, "operator": "In", "values": list(codes)}
    return {"action": "FailJob", "onExitCodes": on}
