"""Credentials of the storage init container, by KServe's conventions.

Secrets that are listed in the ServiceAccount's `secrets` become environment variables and mounts. The operator reads
which keys and annotations a Secret has; the values themselves go to the pod by reference and never through a manifest.
Source: KServe, "Storage credentials" (pkg/credentials).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pillion.storage.options import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion_operator.state.plan import Problem

__all__ = ["SecretSummary", "StorageCredentials", "credentials_from"]

_PREFIXES: Final = ("serving.pillion.dev/", "serving.kserve.io/")
_GOOGLE_KEY: Final = "gcloud-application-credentials.json"
_GOOGLE_MOUNT: Final = "/var/secrets/google"
_CA_MOUNT: Final = "/var/secrets/s3-ca"
_CA_VOLUME: Final = "s3-ca"
_CA_VARIABLE: Final = "CA_BUNDLE_VOLUME_MOUNT_POINT"
_REGISTRY_KEY: Final = ".dockerconfigjson"
REGISTRY_CONFIGS: Final = f"{ENVIRONMENT_PREFIX}REGISTRY_CONFIGS"
"""The setting `FetchOptions.registry_configs`."""
_REGISTRY_MOUNT: Final = "/var/secrets/registry"

#: Keys of a Secret that become variables of the same name.
_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID",
    "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_SAS_TOKEN",
    "HF_TOKEN",
    "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
)  # fmt: skip
#: Older names of KServe's Azure Secrets.
_RENAMED: Final = {
    "AZ_CLIENT_ID": "AZURE_CLIENT_ID",
    "AZ_CLIENT_SECRET": "AZURE_CLIENT_SECRET",
    "AZ_TENANT_ID": "AZURE_TENANT_ID",
    "AZ_SUBSCRIPTION_ID": "AZURE_SUBSCRIPTION_ID",
    "awsAccessKeyID": "AWS_ACCESS_KEY_ID",
    "awsSecretAccessKey": "AWS_SECRET_ACCESS_KEY",
}
_S3_ANNOTATIONS: Final = {
    "s3-usehttps": "S3_USE_HTTPS",
    "s3-verifyssl": "S3_VERIFY_SSL",
    "s3-region": "AWS_REGION",
    "s3-usevirtualbucket": "S3_USER_VIRTUAL_BUCKET",
    "s3-useanoncredential": "awsAnonymousCredential",
}


@dataclass(frozen=True, slots=True)
class SecretSummary:
    """What a builder may know of a Secret: its name, annotations and keys, not its values."""

    name: str
    annotations: Mapping[str, str]
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class StorageCredentials:
    """Environment, volumes and mounts for the init container.

    Attributes:
        uri: where the files are, where an entry of the Secret `storage-config` says it and not the manifest.
        entry: the key of that entry.
        problem: why such an entry cannot be used, or what a model's files are on is not there.
        of_models: the same for those of `predictor.models` that need more than a URI, by name.
        of_account: what the ServiceAccount's Secrets give beside an entry, for models that pods fetch themselves.
    """

    env: tuple[JsonObject, ...] = ()
    volumes: tuple[JsonObject, ...] = ()
    mounts: tuple[JsonObject, ...] = ()
    uri: str = ""
    entry: str = ""
    problem: Problem | None = None
    of_models: Mapping[str, StorageCredentials] = field(default_factory=dict)
    of_account: StorageCredentials | None = None

    @property
    def of_server(self) -> StorageCredentials:
        """What the container that serves has for models that it fetches itself: an entry is all about buckets of S3,
        and for every other place there are the ServiceAccount's Secrets.
        """
        if self.of_account is None:
            return self
        return replace(
            self,
            env=(*self.env, *(one for one in self.of_account.env if not _is_of_s3(str(one["name"])))),
            volumes=(*self.volumes, *(one for one in self.of_account.volumes if one["name"] != _CA_VOLUME)),
            mounts=(*self.mounts, *(one for one in self.of_account.mounts if one["name"] != _CA_VOLUME)),
        )


def credentials_from(secrets: Sequence[SecretSummary]) -> StorageCredentials:
    """Return what the Secrets give, in their order."""
    env: list[JsonObject] = []
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = []
    for secret in secrets:
        env += _variables(secret)
        if _GOOGLE_KEY in secret.keys:
            env.append({"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": f"{_GOOGLE_MOUNT}/{_GOOGLE_KEY}"})
            volumes.append({"name": "google-credentials", "secret": {"secretName": secret.name}})
            mounts.append({"name": "google-credentials", "mountPath": _GOOGLE_MOUNT, "readOnly": True})
        bundle = _annotation(secret, "s3-cabundle-configmap")
        if bundle:
            env.append({"name": _CA_VARIABLE, "value": _CA_MOUNT})
            volumes.append({"name": _CA_VOLUME, "configMap": {"name": bundle}})
            mounts.append({"name": _CA_VOLUME, "mountPath": _CA_MOUNT, "readOnly": True})
    logins = [secret.name for secret in secrets if _REGISTRY_KEY in secret.keys]
    if logins:
        # Each in a file of its own, whatever registry it is for: the fetching looks through all of them.
        env.append({"name": REGISTRY_CONFIGS, "value": ":".join(f"{_REGISTRY_MOUNT}/{name}.json" for name in logins)})
        sources: list[JsonValue] = [
            {"secret": {"name": name, "items": [{"key": _REGISTRY_KEY, "path": f"{name}.json"}]}} for name in logins
        ]
        volumes.append({"name": "registry-logins", "projected": {"sources": sources}})
        mounts.append({"name": "registry-logins", "mountPath": _REGISTRY_MOUNT, "readOnly": True})
    return StorageCredentials(tuple(env), tuple(volumes), tuple(mounts))


def _variables(secret: SecretSummary) -> list[JsonObject]:
    found: list[JsonObject] = []
    named = {key: key for key in _VARIABLES} | _RENAMED
    for key, variable in named.items():
        if key in secret.keys:
            found.append({"name": variable, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key}}})
    endpoint = _annotation(secret, "s3-endpoint")
    if endpoint:
        plain = _annotation(secret, "s3-usehttps") == "0"
        url = endpoint if "://" in endpoint else f"{'http' if plain else 'https'}://{endpoint}"
        found.append({"name": "AWS_ENDPOINT_URL", "value": url})
    for suffix, variable in _S3_ANNOTATIONS.items():
        value = _annotation(secret, suffix)
        if value:
            found.append({"name": variable, "value": value})
    return found


def _is_of_s3(variable: str) -> bool:
    return variable.startswith(("AWS_", "S3_")) or variable in {_S3_ANNOTATIONS["s3-useanoncredential"], _CA_VARIABLE}


def _annotation(secret: SecretSummary, suffix: str) -> str:
    return next(
        (secret.annotations[prefix + suffix] for prefix in _PREFIXES if prefix + suffix in secret.annotations), ""
    )
