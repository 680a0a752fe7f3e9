"""Where a training's pod reads and writes: folders, volume claims and buckets, as the pod reaches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.storage.uri import REMOTE_SCHEMES, file_uri
from pillion_operator.builders.job import JobPlaces
from pillion_operator.builders.storage import check_uri

if TYPE_CHECKING:
    from pillion.resources import JsonObject, TrainingJob
    from pillion.storage.uri import StorageUri
    from pillion_operator.builders.credentials import StorageCredentials

__all__ = ["DATASET", "OUTPUT", "WORK", "Places", "claims_of", "places_of"]

_ROOT: Final = "/mnt/pillion"
DATASET: Final = f"{_ROOT}/dataset"
OUTPUT: Final = f"{_ROOT}/output"
WORK: Final = f"{_ROOT}/work"
_SOURCE: Final = f"{_ROOT}/source"
_CLAIMS: Final = f"{_ROOT}/claims"


@dataclass(frozen=True, slots=True)
class Places(JobPlaces):
    """Everything that the pod reaches.

    Attributes:
        dataset: the path of the data, where there are any; those that are mounted as they are, are not fetched.
        output: where the model goes, as `pillion.trainingpod.order.Place`.
        checkpoint: the same for checkpoints.
        checkpoint_folder: of a claim, where that is where they go.
    """

    dataset: str
    output: JsonObject | None
    checkpoint: JsonObject | None
    checkpoint_folder: str


def claims_of(job: TrainingJob) -> dict[str, str]:
    """Return the names of the volume claims that the manifest's URIs name, with the field that does."""
    found: dict[str, str] = {}
    for field, text in _uris(job):
        uri = check_uri(text, field)
        if uri.scheme == "pvc":
            found.setdefault(uri.authority, field)
    return found


def _uris(job: TrainingJob) -> list[tuple[str, str]]:
    spec = job.spec
    given = {
        "spec.dataset.uri": spec.dataset.uri if spec.dataset else "",
        "spec.output.uri": spec.output.uri if spec.output else "",
        "spec.checkpoint.uri": spec.checkpoint.uri if spec.checkpoint else "",
    }
    return [(field, text) for field, text in given.items() if text]


def places_of(job: TrainingJob, uid: str, credentials: StorageCredentials) -> Places:
    """Return every place.

    Raises:
        PlanError: one cannot be reached from a pod.
    """
    spec = job.spec
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = []

    def empty(name: str, path: str) -> None:
        volumes.append({"name": f"pillion-{name}", "emptyDir": {}})
        mounts.append({"name": f"pillion-{name}", "mountPath": path})

    empty("tmp", "/tmp")  # noqa: S108 - in the pod
    empty("work", WORK)
    for number, claim in enumerate(claims_of(job)):
        volumes.append({"name": f"pillion-claim-{number}", "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": f"pillion-claim-{number}", "mountPath": f"{_CLAIMS}/{claim}"})
    dataset, fetched, link_root = DATASET, "", ""
    if spec.dataset:
        uri = check_uri(spec.dataset.uri, "spec.dataset.uri")
        if uri.scheme == "pvc" and not spec.dataset.digest:
            # Large data are read where they are; a digest is worth a copy that nobody changes meanwhile.
            dataset = _in_claim(uri)
        else:
            empty("dataset", DATASET)
            fetched = uri.text
            if uri.scheme == "pvc":
                link_root = f"{_CLAIMS}/{uri.authority}"
                fetched = file_uri(_in_claim(uri))
            elif uri.scheme == "configmap":
                volumes.append({"name": "pillion-source", "configMap": {"name": uri.authority}})
                mounts.append({"name": "pillion-source", "mountPath": _SOURCE, "readOnly": True})
                link_root = _SOURCE
                fetched = file_uri(f"{_SOURCE}/{uri.path}".rstrip("/"))
    output = _place(spec.output.uri, "spec.output.uri") if spec.output else None
    if spec.output and spec.command:
        empty("output", OUTPUT)
    checkpoint = _place(spec.checkpoint.uri, "spec.checkpoint.uri") if spec.checkpoint else None
    kept = check_uri(spec.checkpoint.uri, "spec.checkpoint.uri") if spec.checkpoint else None
    folder = f"{_in_claim(kept)}/{uid}" if kept is not None and kept.scheme == "pvc" else ""
    remote = any(check_uri(text, field).scheme in REMOTE_SCHEMES for field, text in _uris(job))
    if remote:
        volumes += credentials.volumes
        mounts += credentials.mounts
    return Places(
        volumes=tuple(volumes),
        mounts=tuple(mounts),
        env=credentials.env if remote else (),
        fetched=fetched,
        link_root=link_root,
        dataset=dataset,
        output=output,
        checkpoint=checkpoint,
        checkpoint_folder=folder,
    )


def _place(text: str, field: str) -> JsonObject:
    uri = check_uri(text, field)
    return {"uri": text.rstrip("/"), "at": file_uri(_in_claim(uri)) if uri.scheme == "pvc" else text.rstrip("/")}


def _in_claim(uri: StorageUri) -> str:
    return f"{_CLAIMS}/{uri.authority}/{uri.path}".rstrip("/")
