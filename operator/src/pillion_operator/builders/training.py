"""The Job of a TrainingJob: its pod fetches the data, trains, and stores the model.

With `module` one container trains and stores, on top of the data that the storage step has placed. With `command` the
user's program is a step of its own, and one of ours stores what it left. The Job is made once: of a Job's template
nothing can be changed, so a digest of what the manifest said then is kept on it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.trainingpod.order import VARIABLE, seconds_of
from pillion_operator.builders.merge import merge_objects, without_duplicates
from pillion_operator.builders.security import container_security, pod_security
from pillion_operator.builders.training_places import DATASET, OUTPUT, places_of
from pillion_operator.state.kinds import JOB
from pillion_operator.state.manifest import array, object_at, objects_at, text_at
from pillion_operator.state.names import (
    ADMIN_PORT,
    OUTPUT_CONTAINER,
    QUEUE_LABEL,
    SPEC_HASH_ANNOTATION,
    STORAGE_CONTAINER,
    TRAINING_CONTAINER,
    training_job_name,
    training_labels,
)
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion.resources import JsonObject, TrainingJob
    from pillion_operator.builders.credentials import StorageCredentials
    from pillion_operator.builders.training_places import Places
    from pillion_operator.state.settings import RenderSettings

__all__ = ["job_of", "spec_hash", "wanted_changes"]

_GRACE_SECONDS: Final = 60
#: The kernel takes no longer variable than 128 KiB.
_MOST_ORDER_BYTES: Final = 100_000
#: Fields that may change while the Job is there: they are the Job's own, or say what happens after it.
_CHANGEABLE: Final = (
    "suspend", "cancel", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "deploy",
)  # fmt: skip
#: Exit codes after which another pod would end the same way: of the training, and of the storage step.
_TRAINING_CODES: Final = (65,)
_STORAGE_CODES: Final = (10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 33, 34, 35)
_POD_FIELDS: Final = (
    "affinity", "automountServiceAccountToken", "imagePullSecrets", "nodeSelector", "priorityClassName",
    "runtimeClassName", "schedulerName", "securityContext", "serviceAccountName", "tolerations",
    "topologySpreadConstraints", "volumes",
)  # fmt: skip


def job_of(job: TrainingJob, uid: str, credentials: StorageCredentials, settings: RenderSettings) -> JsonObject:
    """Return the Job.

    Raises:
        PlanError: a place cannot be reached from a pod, or the parameters are too many.
    """
    name, spec = job.metadata.name or "", job.spec
    labels: dict[str, JsonValue] = dict(training_labels(name))
    queue: dict[str, JsonValue] = {QUEUE_LABEL: spec.queue_name} if spec.queue_name else {}
    together = spec.parallelism or 1
    template = _template(job, uid, credentials, settings)
    body: JsonObject = {
        "completions": together,
        "parallelism": together,
        "completionMode": "Indexed" if together > 1 else "NonIndexed",
        "suspend": bool(spec.suspend) or bool(spec.queue_name),
        # A pod that ends slowly must not write checkpoints beside the one that replaces it.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": array(_failure_rules(job, template))},
        "template": template,
    }
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {
            "name": training_job_name(name),
            "namespace": job.metadata.namespace or "",
            "labels": {**labels, **queue},
            "annotations": {SPEC_HASH_ANNOTATION: spec_hash(job)},
            "ownerReferences": [
                {
                    "apiVersion": job.api_version,
                    "kind": job.kind,
                    "name": name,
                    "uid": uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {**body, **_limits(job)},
    }


def spec_hash(job: TrainingJob) -> str:
    """Return the digest of all of the spec that cannot be changed once the Job is there."""
    fixed = {field: value for field, value in job.spec.to_api().items() if field not in _CHANGEABLE}
    return hashlib.sha256(msgspec.json.encode(fixed, order="deterministic")).hexdigest()[:16]


def wanted_changes(job: TrainingJob, live: JsonObject) -> JsonObject:
    """Return the merge patch of what may change on the Job, empty where nothing does.

    Whether a Job with a queue is suspended is for Kueue to say.
    """
    spec = object_at(live, "spec")
    wanted: JsonObject = dict(_limits(job))
    if not job.spec.queue_name:
        wanted["suspend"] = bool(job.spec.suspend)
    if "backoffLimit" not in wanted:
        wanted["backoffLimit"] = 6  # what the API server writes where nothing is said
    for field in ("activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        wanted.setdefault(field, None)
    changes: JsonObject = {field: value for field, value in wanted.items() if spec.get(field) != value}
    return {"spec": changes} if changes else {}


def _limits(job: TrainingJob) -> JsonObject:
    given = {
        "backoffLimit": job.spec.backoff_limit,
        "activeDeadlineSeconds": job.spec.active_deadline_seconds,
        "ttlSecondsAfterFinished": job.spec.ttl_seconds_after_finished,
    }
    return {field: value for field, value in given.items() if value is not None}


def _failure_rules(job: TrainingJob, template: JsonObject) -> list[JsonObject]:
    """Return what the Job makes of ended pods. Source: batch/v1 PodFailurePolicy; the first rule that fits counts."""

    def fails(container: str, codes: tuple[int, ...]) -> JsonObject:
        on: JsonObject = {"containerName": container, "operator": "In", "values": list(codes)}
        return {"action": "FailJob", "onExitCodes": on}

    taken: JsonObject = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    rules = [taken]
    # A rule may name only a container that the pod has: data on a claim is mounted, not fetched.
    if any(text_at(step, "name") == STORAGE_CONTAINER for step in objects_at(template, "spec", "initContainers")):
        rules.append(fails(STORAGE_CONTAINER, _STORAGE_CODES))
    if job.spec.module:
        rules.append(fails(TRAINING_CONTAINER, _TRAINING_CODES))
    elif job.spec.output:
        rules.append(fails(OUTPUT_CONTAINER, _TRAINING_CODES))
    return rules


def _template(job: TrainingJob, uid: str, credentials: StorageCredentials, settings: RenderSettings) -> JsonObject:
    spec = job.spec
    places = places_of(job, uid, credentials)
    own = {field: value for field, value in spec.to_api().items() if field in _POD_FIELDS}
    grace = spec.termination_grace_period_seconds or _GRACE_SECONDS
    order = _order(job, uid, places, grace)
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
    steps: list[JsonObject] = [_storage_step(job, places, settings)] if places.fetched else []
    steps.append(_training(job, places, order, settings))
    if spec.command and spec.output:
        steps.append(_output_step(job, places, order, settings))
    pod = merge_objects(base, own)
    if steps[:-1]:
        pod["initContainers"] = array(steps[:-1])
    pod["containers"] = array(steps[-1:])
    labels: dict[str, JsonValue] = {**(spec.labels or {}), **training_labels(job.metadata.name or "")}
    metadata: JsonObject = {"labels": labels}
    if spec.annotations:
        metadata["annotations"] = dict(spec.annotations)
    template, _ = without_duplicates({"metadata": metadata, "spec": pod})  # two Secrets may bring one variable
    return template


def _order(job: TrainingJob, uid: str, places: Places, grace: int) -> str:
    spec = job.spec
    order: JsonObject = {
        "name": job.metadata.name,
        "namespace": job.metadata.namespace,
        "uid": uid,
        "module": spec.module,
        "task": spec.task,
        "parameters": spec.parameters,
        "dataset": places.dataset if spec.dataset else None,
        "dataset_uri": spec.dataset.uri if spec.dataset else None,
        "dataset_parameter": spec.dataset.parameter if spec.dataset else None,
        "output": places.output,
        "checkpoint": places.checkpoint,
        "every_seconds": seconds_of(spec.checkpoint.every) if spec.checkpoint and spec.checkpoint.every else None,
        "grace_seconds": grace,
        "port": ADMIN_PORT,
    }
    text = json.dumps({field: value for field, value in order.items() if value is not None}, sort_keys=True)
    if len(text.encode()) > _MOST_ORDER_BYTES:
        raise PlanError(
            Problem(
                Reason.INVALID_SPEC,
                f"spec.parameters and the rest come to {len(text.encode())} bytes, and a pod takes {_MOST_ORDER_BYTES}",
                "spec.parameters",
                transient=False,
                remedy="put what is large into the dataset",
            )
        )
    return text


def _storage_step(job: TrainingJob, places: Places, settings: RenderSettings) -> JsonObject:
    arguments = ["--uri", places.fetched, "--dest", DATASET]
    if places.link_root:
        arguments += ["--link-root", places.link_root]
    if job.spec.dataset and job.spec.dataset.digest:
        arguments += ["--digest", job.spec.dataset.digest]
    return {
        "name": STORAGE_CONTAINER,
        "image": settings.runtime_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "pillion.storage"],
        "args": array(arguments),
        "env": array(_environment(job, places)),
        "resources": {"requests": dict(settings.storage_requests)},
        "volumeMounts": array(places.mounts),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _training(job: TrainingJob, places: Places, order: str, settings: RenderSettings) -> JsonObject:
    spec = job.spec
    given = spec.to_api()
    mounts = merge_objects({"volumeMounts": array(places.mounts)}, {"volumeMounts": given.get("volumeMounts") or []})
    container: JsonObject = {
        "name": TRAINING_CONTAINER,
        "image": spec.image or settings.runtime_image,
        "imagePullPolicy": spec.image_pull_policy or settings.image_pull_policy,
        "resources": merge_objects(
            {"requests": dict(settings.requests)}, spec.resources.to_api() if spec.resources else {}
        ),
        **mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    ours: list[JsonObject] = [{"name": VARIABLE, "value": order}]
    security = container_security()
    if spec.module:
        container |= {
            "command": ["python", "-m", "pillion.trainingpod"],
            "ports": [{"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        }
    else:
        container |= {field: given[field] for field in ("command", "args") if field in given}
        parameters = json.dumps(spec.parameters or {}, sort_keys=True)
        told = {
            "PILLION_DATASET": places.dataset if spec.dataset else "",
            "PILLION_OUTPUT": OUTPUT if spec.output else "",
            "PILLION_CHECKPOINTS": places.checkpoint_folder,
            "PILLION_PARAMETERS": parameters,
        }
        ours = [{"name": name, "value": value} for name, value in told.items() if value]
        # Images of others may write where they are used to, and set their own user; the pod asks for one without root.
        for field in ("readOnlyRootFilesystem", "runAsNonRoot"):
            del security[field]
    if spec.working_dir:
        container["workingDir"] = spec.working_dir
    if spec.env_from:
        container["envFrom"] = given["envFrom"]
    container["env"] = array([*_environment(job, places), *ours])
    container["securityContext"] = security
    return container


def _output_step(job: TrainingJob, places: Places, order: str, settings: RenderSettings) -> JsonObject:
    ordered: JsonObject = {"name": VARIABLE, "value": order}
    return {
        "name": OUTPUT_CONTAINER,
        "image": settings.runtime_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "pillion.trainingpod"],
        "args": ["store", OUTPUT],
        "env": array([*_environment(job, places), ordered]),
        "resources": {"requests": dict(settings.storage_requests)},
        "volumeMounts": array(places.mounts),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _environment(job: TrainingJob, places: Places) -> list[JsonObject]:
    """Return the storage's credentials, and the manifest's variables, which win."""
    given = objects_at(job.spec.to_api(), "env")
    chosen = {variable.get("name") for variable in given}
    return [*(variable for variable in places.env if variable["name"] not in chosen), *given]
