"""Trainings as TrainingJob objects of the cluster: how one is asked for, found again, and read. Pure.

Source: the custom resource TrainingJob, serving.pillion.dev/v1beta1.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import heapq
import re
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.asked import digest_of
from pillion.jobs.states import TERMINAL, Job, JobKind, JobState
from pillion.jobs.store import Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pillion.jobs.asked import Submitter
    from pillion.jobs.store import JobFilter
    from pillion.jobs.training_order import DataSource, TrainingRequest
    from pillion.runtimefile import Code

__all__ = [
    "SERVICE_LABEL",
    "Asked",
    "job_of",
    "log_line",
    "metrics_of",
    "module_of",
    "name_of",
    "newest_of",
    "object_of",
    "page_from",
    "request_digest_of",
    "spec_of",
]

_GROUP: Final = "serving.pillion.dev"
SERVICE_LABEL: Final = f"{_GROUP}/asked-of"
"""The InferenceService whose pods were asked for the training, and answer for it."""
_MODEL: Final = f"{_GROUP}/model-name"
_CALLER: Final = f"{_GROUP}/asked-by"
_REQUEST: Final = f"{_GROUP}/request-id"
_DIGEST: Final = f"{_GROUP}/request-digest"
_SUBMITTED: Final = f"{_GROUP}/submitted"
_LONGEST_SERVICE: Final = 25
"""Characters of the service's name in a training's: with what makes it one of its own 46 is the most."""
_MOST_BYTES: Final = 90_000
"""Parameters, with data that came as items: a pod is told of them in one variable."""
_MODELS: Final = PurePosixPath("/mnt/models")
_FILE: Final = re.compile(r"^/[A-Za-z0-9_./-]+[.]py$")
_MODULE: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*$")
_REACHED: Final = ("s3", "gs", "az", "pvc", "http", "https", "hf", "oci", "oci+fetch", "models", "runs", "configmap")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A training that somebody asks for, looked at."""

    name: str
    """Of the object: the training's id."""
    service: str
    model: str
    submitted: float
    digest: str
    """Of the request."""
    caller: Submitter
    request_id: str
    spec: dict[str, Any]


def name_of(service: str, caller: Submitter, key: str, chance: str) -> str:
    """The name of the object: the same for the same key of the same caller, else by ``chance``, hexadecimal."""
    if key:
        chance = hashlib.sha256(f"{service}\0{caller.name}\0{key}".encode()).hexdigest()
    return f"{service[:_LONGEST_SERVICE].rstrip('-')}-{chance[:20]}"


def module_of(code: Code) -> str:
    """The class, as a pod of the same image finds it.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: it does not; the text says where it has to be.
    """
    module, found = code.module, ""
    if module.endswith(".py"):
        path = PurePosixPath(module) if module.startswith("/") else PurePosixPath(code.folder) / module
        if _FILE.match(str(path)) and _MODELS not in path.parents and PurePosixPath("/tmp") not in path.parents:  # noqa: S108 - where there is no code of images
            found = str(path)
    elif _MODULE.match(module):
        found = module
    if not found:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"the class {code.class_name} is in {module}, which the pod of a training does not have",
            remedy="build an image that holds it: pillion deploy FOLDER --image HOST/NAME:TAG",
        )
    return f"{found}:{code.class_name}"


def spec_of(
    template: Mapping[str, Any],
    module: str,
    task: str,
    request: TrainingRequest,
    sources: Mapping[str, DataSource],
    service: str,
) -> dict[str, Any]:
    """The object's spec: what the operator has laid down for the service's trainings, and what is asked for.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: what no pod of its own can do, with the field.
    """
    if request.output_path:
        place = template.get("output", {}).get("uri", "spec.predictor.jobs.output")
        raise _wrong("output_path", f"in the cluster models go below {place}; leave it out")
    parameters = {name: value for name, value in request.parameters.items() if name not in sources}
    spec: dict[str, Any] = {**template, "module": module, "task": task}
    if len(sources) > 1:
        names = " and ".join(sorted(sources))
        raise _wrong("parameters", f"{names} are both elsewhere, and a training in the cluster fetches one of them")
    for name, source in sources.items():
        _check_reached(name, source)
        _check_mounted(name, source, template)
        spec["dataset"] = {"uri": source.uri, "parameter": name}
    if parameters:
        size = len(msgspec.json.encode(parameters))
        if size > _MOST_BYTES:
            raise _wrong(
                "parameters",
                f"they come to {size} bytes with the data in them, and a training in the cluster takes {_MOST_BYTES}; "
                'put the data into storage, and give {"uri": "s3://..."} (pillion push puts them there)',
            )
        for name, value in parameters.items():
            _check_numbers(name, value)
        spec["parameters"] = parameters
    if request.deploy:
        spec["deploy"] = {"inferenceService": service}
    return spec


def _check_reached(name: str, source: DataSource) -> None:
    scheme = source.uri.partition(":")[0].lower()
    if source.file or scheme not in _REACHED:
        raise _wrong(
            f"parameters.{name}.uri",
            "the pod of a training does not have this server's files; put the data into storage, and give its URI "
            "(pillion push puts them there)",
        )


def _check_mounted(name: str, source: DataSource, template: Mapping[str, Any]) -> None:
    """Let a request name those volumes alone that the service has: it would have any of the namespace mounted."""
    scheme, _, rest = source.uri.partition("://")
    of = rest.partition("/")[0]
    volumes = [volume for volume in template.get("volumes", ()) if isinstance(volume, dict)]
    if scheme.lower() == "pvc":
        known = {_part(volume, "persistentVolumeClaim").get("claimName") for volume in volumes}
        places = [str(_part(template, field).get("uri", "")) for field in ("output", "checkpoint")]
        known |= {place[6:].partition("/")[0] for place in places if place.startswith("pvc://")}
    elif scheme.lower() == "configmap":
        known = {_part(volume, "configMap").get("name") for volume in volumes}
    else:
        return
    if of not in known:
        raise _wrong(
            f"parameters.{name}.uri",
            f"{scheme}://{of} is no volume of the service, and a request mounts no other; name it in "
            "spec.predictor.volumes, or put the data into storage",
        )


def _check_numbers(name: str, value: object) -> None:
    """Refuse whole numbers of which the API server would make floats."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
        elif isinstance(one, int) and not -(2**63) <= one < 2**63:
            raise _wrong(f"parameters.{name}", "a whole number in the cluster has 64 bits; write it as text")


def request_digest_of(model: str, task: str, body: bytes | memoryview) -> str:
    """Tells a request from another that came with the same key."""
    return digest_of(model, task, body)


def object_of(asked: Asked, namespace: str) -> dict[str, Any]:
    """The TrainingJob to create."""
    told = {
        _MODEL: asked.model,
        # A name; of who shows something that no setting knows there is but a digest, which is nobody's business.
        _CALLER: asked.caller.name if asked.caller.name != asked.caller.shown else "",
        _REQUEST: asked.request_id,
        _DIGEST: asked.digest,
        _SUBMITTED: _moment(asked.submitted),
    }
    return {
        "apiVersion": f"{_GROUP}/v1beta1",
        "kind": "TrainingJob",
        "metadata": {
            "name": asked.name,
            "namespace": namespace,
            "labels": {SERVICE_LABEL: asked.service},
            "annotations": {name: text for name, text in told.items() if text},
        },
        "spec": asked.spec,
    }


def job_of(found: Mapping[str, Any]) -> Job:
    """A TrainingJob as the training that it is; one that the operator has not looked at yet is QUEUED."""
    metadata, spec, status = (_part(found, name) for name in ("metadata", "spec", "status"))
    notes = _part(metadata, "annotations")
    name = str(metadata.get("name", ""))
    state = _state(status)
    created = _seconds(metadata.get("creationTimestamp")) or 0.0
    submitted = _seconds(notes.get(_SUBMITTED)) or created
    message = str(status.get("message") or "")
    artifact = _part(status, "artifact")
    quiet = state is JobState.RUNNING and status.get("reason") == "Running"
    quiet = quiet or (state is JobState.COMPLETED and bool(artifact))
    wanted = bool(spec.get("cancel"))
    progress = status.get("progress")
    return Job(
        id=name,
        kind=JobKind.TRAINING,
        model=str(notes.get(_MODEL) or name),
        task=str(spec.get("task") or ""),
        submitted=submitted,
        state=state,
        reason="" if quiet else message,
        started=_seconds(status.get("startTime")),
        finished=_seconds(status.get("completionTime")) if state in TERMINAL else None,
        attempts=_count(status.get("attempts")),
        progress=progress / 100 if isinstance(progress, int | float) else None,
        cancel_requested=wanted and state is not JobState.COMPLETED,
        request_id=str(notes.get(_REQUEST) or ""),
        request_digest=str(notes.get(_DIGEST) or ""),
        details=_details(name, spec, status, artifact, state),
        sequence=_sequence(submitted, name),
    )


def _details(
    name: str, spec: Mapping[str, Any], status: Mapping[str, Any], artifact: Mapping[str, Any], state: JobState
) -> dict[str, str]:
    details = {"training_job": name}
    if spec.get("deploy"):
        details["deploy"] = "true"
    if state is JobState.COMPLETED:
        digest = str(artifact.get("digest") or "")
        details["version"] = digest.removeprefix("sha256:")[:12] or "unknown"
        details["path"] = str(artifact.get("uri") or "unknown")
        told = {"digest": digest, "data_digest": artifact.get("dataDigest"), "code_digest": artifact.get("codeDigest")}
        details |= {field: str(text) for field, text in told.items() if text}
        conditions = status.get("conditions") or ()
        if any(one.get("type") == "Deployed" and one.get("status") == "True" for one in conditions):
            details["deployed"] = "true"
    return details


def metrics_of(found: Mapping[str, Any], now: float) -> bytes:
    """The numbers that it logged last, as a line; empty where there are none."""
    numbers = _part(_part(found, "status"), "metrics")
    return msgspec.json.encode({"at": now, **numbers}) + b"\n" if numbers else b""


def log_line(found: Mapping[str, Any]) -> bytes:
    """Where its log is; empty until it has a pod."""
    command = _part(found, "status").get("log")
    return f"The log is that of the training's pod: {command}\n".encode() if command else b""


def newest_of(jobs: Iterable[Job], which: JobFilter, after: int | None, size: int) -> list[Job]:
    """Those that fit, the newest first: of more than a page one more, which says that there are more."""
    fits = (job for job in jobs if _fits(job, which) and (after is None or job.sequence < after))
    return heapq.nlargest(size + 1, fits, key=lambda job: job.sequence)


def page_from(newest: Sequence[Job], size: int) -> Page:
    """A page of what :func:`newest_of` gave."""
    shown = newest[:size]
    return Page(tuple(shown), shown[-1].sequence if len(newest) > size else None)


def _fits(job: Job, which: JobFilter) -> bool:
    return (
        which.kind in (None, JobKind.TRAINING)
        and (not which.states or job.state in which.states)
        and which.model in ("", job.model)
        and which.task in ("", job.task)
        and (which.since is None or job.submitted >= which.since)
        and (which.until is None or job.submitted < which.until)
    )


def _sequence(submitted: float, name: str) -> int:
    """A place in the order of all: by the millisecond, and of one millisecond by the name."""
    return (max(0, int(submitted * 1000)) << 20 | zlib.crc32(name.encode()) & 0xFFFFF) or 1


def _state(status: Mapping[str, Any]) -> JobState:
    try:
        return JobState(str(status.get("state") or JobState.QUEUED))
    except ValueError:
        return JobState.QUEUED


def _part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(text: object) -> float | None:
    try:
        moment = dt.datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else moment.timestamp()


def _wrong(field: str, text: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {text}", field=field)
