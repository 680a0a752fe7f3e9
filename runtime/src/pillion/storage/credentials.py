"""From the environment to the settings of an object store. Pure but for reading a CA bundle.

obstore reads the providers' own variables and walks their default chains by itself: static keys, web identity
(IRSA, workload identity), container credentials (pod identity), instance metadata. What is added here are the
conventions of KServe's Secrets, which become environment variables of the init container:

* S3: ``AWS_ENDPOINT_URL`` or ``S3_ENDPOINT`` (host and port) with ``S3_USE_HTTPS`` (1); ``S3_VERIFY_SSL`` (1);
  ``AWS_REGION``, ``AWS_DEFAULT_REGION`` or ``S3_REGION`` (us-east-1); ``S3_USER_VIRTUAL_BUCKET`` (0);
  ``awsAnonymousCredential`` (false); ``AWS_CA_BUNDLE``, or ``CA_BUNDLE_VOLUME_MOUNT_POINT`` with ``cabundle.crt``.
* Google Cloud: ``GOOGLE_APPLICATION_CREDENTIALS``; ``STORAGE_EMULATOR_HOST``; without any credentials, public
  buckets are read anonymously.
* Azure: ``AZURE_STORAGE_ACCOUNT_NAME``, ``AZURE_STORAGE_ACCESS_KEY``, ``AZURE_CLIENT_ID``, ``AZURE_TENANT_ID``,
  ``AZURE_CLIENT_SECRET``, ``AZURE_FEDERATED_TOKEN_FILE``, ``AZURE_STORAGE_SAS_TOKEN``, ``AZURE_STORAGE_ENDPOINT``;
  without any credentials, public containers are read anonymously.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.storage.errors import Reason, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.storage.options import FetchOptions
    from pillion.storage.uri import StorageUri

__all__ = ["StoreSettings", "store_settings"]

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
METADATA_HOSTS: Final = (
    "169.254.169.254,169.254.170.2,169.254.170.23,metadata.google.internal,[fd00:ec2::254],[fd00:ec2::23]"
)
"""Hosts of credential providers, which the address rule does not bind."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What an object store is opened with.

    Attributes:
        config: obstore's configuration of the provider; holds secrets, never shown.
        client: obstore's client options.
        endpoint: a custom endpoint, None for the provider's own.
        needs_metadata: whether credentials may have to come from a metadata service.
        may_be_public: whether to try anonymously when there are no credentials at all.
    """

    config: dict[str, str | bool] = field(repr=False)
    client: dict[str, str | bool] = field(repr=False)
    endpoint: str | None
    needs_metadata: bool
    may_be_public: bool


def store_settings(uri: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> StoreSettings:
    """The settings for the store that a URI of scheme s3, gs or az names.

    Raises:
        StorageError: `Reason.INVALID_SETTING`, naming the variable; `Reason.UNSUPPORTED_SCHEME`: it is no such URI.
    """
    if uri.scheme not in {"s3", "gs", "az"}:
        raise StorageError(
            Reason.UNSUPPORTED_SCHEME, f"{uri} is in no object store", remedy="name a place in s3:// gs:// or az://"
        )
    return {"s3": _s3, "gs": _gs, "az": _az}[uri.scheme](uri, options, environment)


def _s3(_: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> StoreSettings:
    config: dict[str, str | bool] = {
        "region": _first(environment, "AWS_REGION", "AWS_DEFAULT_REGION", "S3_REGION") or "us-east-1"
    }
    endpoint = _first(environment, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    if endpoint is None and (host := environment.get("S3_ENDPOINT")):
        secure = _true(environment.get("S3_USE_HTTPS", "1"))
        endpoint = host if "://" in host else f"{'https' if secure else 'http'}://{host}"
    if endpoint is not None:
        config["endpoint"] = endpoint = _checked_endpoint(endpoint, "AWS_ENDPOINT_URL or S3_ENDPOINT")
    anonymous = any(
        _true(environment.get(name, ""))
        for name in ("awsAnonymousCredential", "AWS_ANONYMOUS_CREDENTIAL", "AWS_SKIP_SIGNATURE")
    )
    if anonymous:
        config["skip_signature"] = True
    if _true(environment.get("S3_USER_VIRTUAL_BUCKET", "")):
        config["virtual_hosted_style_request"] = True
    client = _client(options, endpoint, _first(environment, "AWS_CA_BUNDLE") or _kserve_bundle(environment))
    if environment.get("S3_VERIFY_SSL") and not _true(environment["S3_VERIFY_SSL"]):
        client["allow_invalid_certificates"] = True
    static = bool(environment.get("AWS_ACCESS_KEY_ID") and environment.get("AWS_SECRET_ACCESS_KEY"))
    federated = bool(environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environment.get("AWS_ROLE_ARN"))
    return StoreSettings(config, client, endpoint, not (anonymous or static or federated), may_be_public=False)


def _gs(_: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> StoreSettings:
    config: dict[str, str | bool] = {}
    given = _first(
        environment,
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
    )
    endpoint = _first(environment, "STORAGE_EMULATOR_HOST", "GOOGLE_BASE_URL")
    where = "STORAGE_EMULATOR_HOST or GOOGLE_BASE_URL"
    if path := environment.get("GOOGLE_APPLICATION_CREDENTIALS"):
        # A key file may name an endpoint, too; the address rule must hold for that as well.
        of_file = _check_google_file(Path(path))
        endpoint, where = (endpoint, where) if endpoint is not None or of_file is None else (of_file, path)
    if endpoint is not None:
        endpoint = _checked_endpoint(endpoint if "://" in endpoint else f"http://{endpoint}", where)
        config["base_url"] = endpoint
        if not given:
            config["skip_signature"] = True
    return StoreSettings(
        config, _client(options, endpoint, None), endpoint, not (given or endpoint), may_be_public=not given
    )


def _az(uri: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> StoreSettings:
    account = uri.account or _first(environment, "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
    if account is None:
        raise StorageError(
            Reason.INVALID_SETTING,
            f"the storage account of {uri} is not known",
            remedy="set AZURE_STORAGE_ACCOUNT_NAME, or write abfss://container@account.dfs.core.windows.net/path",
        )
    config: dict[str, str | bool] = {"account_name": account}
    key = _first(environment, "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY")
    if key is not None:
        config["account_key"] = key
    endpoint = _first(environment, "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
    if any(_true(environment.get(name, "")) for name in ("AZURE_STORAGE_USE_EMULATOR", "AZURE_USE_EMULATOR")):
        endpoint = endpoint or f"http://127.0.0.1:10000/{account}"  # said here, so that the address rule sees it
    if endpoint is not None:
        config["endpoint"] = endpoint = _checked_endpoint(endpoint, "AZURE_STORAGE_ENDPOINT")
    other = _first(
        environment, "AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_TOKEN",
    )  # fmt: skip
    known = key is not None or other is not None
    return StoreSettings(config, _client(options, endpoint, None), endpoint, not known, may_be_public=not known)


def _client(options: FetchOptions, endpoint: str | None, bundle: str | None) -> dict[str, str | bool]:
    client: dict[str, str | bool] = {
        "connect_timeout": f"{max(1, round(options.connect_seconds * 1000))}ms",
        # No total deadline: a download may take hours as long as bytes arrive (read_timeout, and our own).
        "timeout": "30days",
        "read_timeout": f"{max(1, round(options.stall_seconds * 1000))}ms",
        "user_agent": "pillion",
    }
    if endpoint is not None and endpoint.startswith("http://"):
        client["allow_http"] = True
    path = Path(bundle) if bundle else options.ca_bundle
    if path is not None:
        try:
            client["root_certificate"] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(
                Reason.INVALID_SETTING,
                f"the CA bundle {path} cannot be read",
                remedy="give a PEM file in AWS_CA_BUNDLE or PILLION_STORAGE_CA_BUNDLE",
            ) from error
    return client


def _kserve_bundle(environment: Mapping[str, str]) -> str | None:
    mount = environment.get("CA_BUNDLE_VOLUME_MOUNT_POINT")
    if not mount:
        return None
    path = Path(mount) / "cabundle.crt"
    return str(path) if path.exists() else None


def _check_google_file(path: Path) -> str | None:
    """Refuse a file of a kind that obstore does not know; the endpoint that the file names, if any."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind, endpoint = content.get("type"), content.get("gcs_base_url")
    except (OSError, ValueError, AttributeError):
        raise StorageError(
            Reason.INVALID_SETTING,
            f"GOOGLE_APPLICATION_CREDENTIALS names {path}, which is not a readable JSON object",
            remedy="mount the key file of a service account there",
        ) from None  # the cause might show the key
    if kind not in {"service_account", "authorized_user"}:
        raise StorageError(
            Reason.INVALID_SETTING,
            f"GOOGLE_APPLICATION_CREDENTIALS names a file of type {str(kind)[:40]!r}, which is not supported",
            remedy="use a service account key, or workload identity of the cluster without a file",
        )
    return None if endpoint is None else str(endpoint)


def _checked_endpoint(text: str, where: str) -> str:
    if not text.lower().startswith(("http://", "https://")) or "@" in text or any(c.isspace() for c in text):
        raise StorageError(
            Reason.INVALID_SETTING,
            f"the endpoint in {where} is not an http(s) URL without user information",
            remedy="write https://host:port",
        )
    return text.rstrip("/")


def _first(environment: Mapping[str, str], *names: str) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def _true(text: str) -> bool:
    return text.strip().lower() in _TRUE
