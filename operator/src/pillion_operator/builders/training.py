"""The Job of a TrainingJob: its pod fetches the data, trains, and stores the model.

With `module` one container trains and stores, on top of the data that the storage step has placed. With `command` the
user's program is a step of its own, and one of ours stores what it left.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pillion.trainingpod.order import VARIABLE, seconds_of
from pillion_operator.builders.job import (
    container_resources,
    environment,
    failure_rules,
    job_manifest,
    pod_template,
    spec_digest,
    storage_step,
)
from pillion_operator.builders.literal import literal
from pillion_operator.builders.security import container_security
from pillion_operator.builders.training_places import DATASET, OUTPUT, places_of
from pillion_operator.state.manifest import array
from pillion_operator.state.names import (
    ADMIN_PORT,
    OUTPUT_CONTAINER,
    TRAINING_CONTAINER,
    training_job_name,
    training_labels,
)
from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources import JsonObject, TrainingJob
    from pillion_operator.builders.credentials import StorageCredentials
    from pillion_operator.builders.training_places import Places
    from pillion_operator.state.settings import RenderSettings

__all__ = ["job_of", "spec_hash"]

_GRACE_SECONDS: Final = 60
#: The kernel takes no longer variable than 128 KiB.
_MOST_ORDER_BYTES: Final = 100_000
#: Fields that may change while the Job is there: they are the Job's own, or say what happens after it.
_CHANGEABLE: Final = (
    "suspend", "cancel", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "deploy",
)  # fmt: skip
#: Exit codes after which another pod would end the same way.
_TRAINING_CODES: Final = (65,)


def job_of(job: TrainingJob, uid: str, credentials: StorageCredentials, settings: RenderSettings) -> JsonObject:
    """Return the Job.

    Raises:
        PlanError: a place cannot be reached from a pod, or the parameters are too many.
    """
    name, together = job.metadata.name or "", (job.spec.parallelism or 1) > 1
    template = _template(job, uid, credentials, settings)
    body: JsonObject = {
        "completionMode": "Indexed" if together else "NonIndexed",
        "podFailurePolicy": {"rules": array(failure_rules(template, _lasting_codes(job)))},
        "template": template,
    }
    return job_manifest(job, uid, training_job_name(name), training_labels(name), spec_hash(job), body)


def spec_hash(job: TrainingJob) -> str:
    """Return the digest of all of the spec that cannot be changed once the Job is there."""
    return spec_digest(job, _CHANGEABLE)


def _lasting_codes(job: TrainingJob) -> dict[str, tuple[int, ...]]:
    if job.spec.module:
        return {TRAINING_CONTAINER: _TRAINING_CODES}
    return {OUTPUT_CONTAINER: _TRAINING_CODES} if job.spec.output else {}


def _template(job: TrainingJob, uid: str, credentials: StorageCredentials, settings: RenderSettings) -> JsonObject:
    spec = job.spec
    places = places_of(job, uid, credentials)
    grace = spec.termination_grace_period_seconds or _GRACE_SECONDS
    order = _order(job, uid, places, grace)
    digest = spec.dataset.digest if spec.dataset else None
    steps = [storage_step(job, places, DATASET, digest, settings)] if places.fetched else []
    steps.append(_training(job, places, order, settings))
    if spec.command and spec.output:
        steps.append(_output_step(job, places, order, settings))
    return pod_template(job, training_labels(job.metadata.name or ""), steps, places, grace, settings)


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


def _training(job: TrainingJob, places: Places, order: str, settings: RenderSettings) -> JsonObject:
    spec = job.spec
    given = spec.to_api()
    container: JsonObject = {"name": TRAINING_CONTAINER, **container_resources(job, places, settings)}
    ours: list[JsonObject] = [{"name": VARIABLE, "value": literal(order)}]
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
        ours = [{"name": name, "value": literal(value)} for name, value in told.items() if value]
        # Images of others may write where they are used to, and set their own user; the pod asks for one without root.
        for field in ("readOnlyRootFilesystem", "runAsNonRoot"):
            del security[field]
    if spec.working_dir:
        container["workingDir"] = spec.working_dir
    if spec.env_from:
        container["envFrom"] = given["envFrom"]
    container["env"] = array([*environment(job, places), *ours])
    container["securityContext"] = security
    return container


def _output_step(job: TrainingJob, places: Places, order: str, settings: RenderSettings) -> JsonObject:
    ordered: JsonObject = {"name": VARIABLE, "value": literal(order)}
    return {
        "name": OUTPUT_CONTAINER,
        "image": settings.runtime_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "pillion.trainingpod"],
        "args": ["store", OUTPUT],
        "env": array([*environment(job, places), ordered]),
        "resources": {"requests": dict(settings.storage_requests)},
        "volumeMounts": array(places.mounts),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
