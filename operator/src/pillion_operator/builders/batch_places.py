"""Where a batch prediction's pods read and write: the model's folder, volume claims and buckets, as they reach them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.storage.uri import REMOTE_SCHEMES, file_uri
from pillion_operator.builders.job import JobPlaces
from pillion_operator.builders.storage import MODELS_PATH, check_uri

if TYPE_CHECKING:
    from pillion.resources import BatchPrediction, JsonObject
    from pillion_operator.builders.credentials import StorageCredentials

__all__ = ["CA_FILE", "CLIENT_FOLDER", "BatchPlaces", "batch_claims", "batch_places", "batch_uris"]

_CLAIMS: Final = "/mnt/pillion/claims"
_SOURCE: Final = "/mnt/source"
_CA_FOLDER: Final = "/etc/pillion/service-ca"
CA_FILE: Final = f"{_CA_FOLDER}/ca.crt"
CLIENT_FOLDER: Final = "/etc/pillion/client-tls"


@dataclass(frozen=True, slots=True)
class BatchPlaces(JobPlaces):
    """Everything that the pod reaches.

    Attributes:
        input: where the rows are, as the pod reaches them.
        output: where the predictions go, the same.
    """

    input: str
    output: str


def batch_uris(batch: BatchPrediction) -> list[tuple[str, str]]:
    """Return every URI of the manifest, with the field that it stands in."""
    spec = batch.spec
    given = [("spec.input.uri", spec.input.uri), ("spec.output.uri", spec.output.uri)]
    return given + ([("spec.model.storageUri", spec.model.storage_uri)] if spec.model else [])


def batch_claims(batch: BatchPrediction) -> dict[str, str]:
    """Return the names of the volume claims that the manifest's URIs name, with the field that does.

    Raises:
        PlanError: a URI cannot be reached from a pod.
    """
    found: dict[str, str] = {}
    for field, text in batch_uris(batch):
        uri = check_uri(text, field)
        if uri.scheme == "pvc":
            found.setdefault(uri.authority, field)
    return found


def batch_places(batch: BatchPrediction, server_secret: str, credentials: StorageCredentials) -> BatchPlaces:
    """Return every place.

    Args:
        batch: the BatchPrediction.
        server_secret: the Secret of the service's certificate, whose authority is believed; empty without TLS.
        credentials: of the storage.

    Raises:
        PlanError: one cannot be reached from a pod.
    """
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = []

    def mount(name: str, volume: JsonObject, path: str, *, read_only: bool = False) -> None:
        volumes.append({"name": f"pillion-{name}", **volume})
        mounts.append({"name": f"pillion-{name}", "mountPath": path, **({"readOnly": True} if read_only else {})})

    mount("tmp", {"emptyDir": {}}, "/tmp")  # noqa: S108 - in the pod
    mount("work", {"emptyDir": {}}, "/mnt/pillion/work")
    for number, claim in enumerate(batch_claims(batch)):
        mount(f"claim-{number}", {"persistentVolumeClaim": {"claimName": claim}}, f"{_CLAIMS}/{claim}")
    fetched, link_root = "", ""
    if batch.spec.model:
        mount("model", {"emptyDir": {}}, MODELS_PATH)
        uri = check_uri(batch.spec.model.storage_uri, "spec.model.storageUri")
        fetched = uri.text
        if uri.scheme == "pvc":
            link_root = f"{_CLAIMS}/{uri.authority}"
        elif uri.scheme == "configmap":
            mount("source", {"configMap": {"name": uri.authority}}, _SOURCE, read_only=True)
            link_root = _SOURCE
        if link_root:
            fetched = file_uri(f"{link_root}/{uri.path}".rstrip("/"))
    if server_secret:
        # Only the authority: the Secret holds the service's private key as well. One of a public authority has none.
        items: list[JsonObject] = [{"key": "ca.crt", "path": "ca.crt"}]
        secret: JsonObject = {"secretName": server_secret, "items": [*items], "optional": True}
        mount("service-ca", {"secret": secret}, _CA_FOLDER, read_only=True)
    if batch.spec.tls:
        mount("client-tls", {"secret": {"secretName": batch.spec.tls.secret_name}}, CLIENT_FOLDER, read_only=True)
    remote = any(check_uri(text, field).scheme in REMOTE_SCHEMES for field, text in batch_uris(batch))
    if remote:
        volumes += credentials.volumes
        mounts += credentials.mounts
    return BatchPlaces(
        volumes=tuple(volumes),
        mounts=tuple(mounts),
        env=credentials.env if remote else (),
        fetched=fetched,
        link_root=link_root,
        input=_reached(batch.spec.input.uri, "spec.input.uri"),
        output=_reached(batch.spec.output.uri, "spec.output.uri"),
    )


def _reached(text: str, field: str) -> str:
    uri = check_uri(text, field)
    return file_uri(f"{_CLAIMS}/{uri.authority}/{uri.path}") if uri.scheme == "pvc" else text
