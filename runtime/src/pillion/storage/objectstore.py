"""Buckets as a source: s3, gs and az through obstore.

obstore's own retries are off (ours are logged, and resume), and so is its total deadline. Chunks are taken as they
come off the wire, so that the stall time-out sees every byte.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from pillion.storage.addresses import check_host
from pillion.storage.credentials import METADATA_HOSTS, StoreSettings, store_settings
from pillion.storage.errors import Reason, StorageError
from pillion.storage.guard import AddressGuard
from pillion.storage.local import too_many_files
from pillion.storage.names import safe_name
from pillion.storage.source import Body, Listing, SourceChanged, SourceObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from obstore.store import ObjectStore

    from pillion.storage.options import FetchOptions
    from pillion.storage.uri import StorageUri

__all__ = ["ObjectStoreSource", "open_store", "translate"]

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,80})</Code>")
_METADATA: Final = re.compile(r"169\.254\.1(?:69|70)\.|metadata\.google\.internal|fd00:ec2:")
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"})
_BAD_CREDENTIALS: Final = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "AuthorizationHeaderMalformed",
        "AuthenticationFailed",
    }
)
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


class ObjectStoreSource:
    """A bucket or container, and one key or prefix in it."""

    def __init__(self, uri: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> None:
        self._uri = uri
        self._max_files = options.max_files
        self._settings = store_settings(uri, options, environment)
        self._guard = _guard(self._settings, options, environment)
        self._store = _open(uri, self._settings, self._guard)

    async def list(self, *, versions: bool) -> Listing:  # noqa: ARG002  (a listing has the versions anyway)
        """The object of exactly that key, else all objects below it."""
        try:
            return await self._list()
        except StorageError as error:
            if not (self._settings.may_be_public and error.reason is Reason.ACCESS_DENIED):
                raise
        # There are no credentials: the bucket may be a public one.
        public = StoreSettings(
            {**self._settings.config, "skip_signature": True},
            self._settings.client,
            self._settings.endpoint,
            False,
            False,
        )
        self._store = _open(self._uri, public, self._guard)
        return await self._list()

    async def _list(self) -> Listing:
        key = self._uri.path
        if key and not key.endswith("/"):
            found = await self._head(key)
            if found is not None:
                return Listing((found,), single=True)
        items = await self._list_below(key.rstrip("/"))
        if not items:
            raise StorageError(
                Reason.OBJECT_NOT_FOUND,
                f"{self._uri} names neither an object nor a prefix with objects below it",
                remedy="check bucket and key; keys are case-sensitive",
            )
        return Listing(items, single=False)

    @asynccontextmanager
    async def open(self, item: SourceObject, offset: int, version: str | None) -> AsyncIterator[Body]:
        """Stream an object from an offset under its ETag."""
        options: dict[str, Any] = {}
        if version is not None:
            options["if_match"] = version
        if offset:
            options["range"] = {"offset": offset}
        try:
            result = await obstore.get_async(self._store, item.key, options=options)  # type: ignore[arg-type]  # a TypedDict built step by step
        except (BaseError, OSError) as error:
            raise self._translated(error) from None  # its text may show credentials
        yield Body(result.range[0], result.meta["size"], result.meta["e_tag"], self._chunks(result))

    async def close(self) -> None:
        """End the guard; obstore closes its connections by itself."""
        if self._guard is not None:
            self._guard.close()

    async def _chunks(self, result: obstore.GetResult) -> AsyncIterator[bytes]:
        try:
            async for chunk in result.stream(min_chunk_size=1):
                yield bytes(chunk)
        except (BaseError, OSError) as error:
            raise self._translated(error) from None  # its text may show credentials

    async def _head(self, key: str) -> SourceObject | None:
        try:
            meta = await obstore.head_async(self._store, key)
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._translated(error) from None  # its text may show credentials
        name = safe_name(key.rpartition("/")[2], reason=Reason.UNSAFE_PATH)
        return SourceObject(key, name, meta["size"], meta["e_tag"])

    async def _list_below(self, prefix: str) -> tuple[SourceObject, ...]:
        found: list[SourceObject] = []
        start = len(prefix) + 1 if prefix else 0
        try:
            async for page in obstore.list(self._store, prefix or None):
                for meta in page:
                    if len(meta["path"]) <= start:
                        continue  # the marker that a console made for the directory itself
                    name = safe_name(meta["path"][start:], reason=Reason.UNSAFE_PATH)
                    found.append(SourceObject(meta["path"], name, meta["size"], meta["e_tag"]))
                if len(found) > self._max_files:
                    raise too_many_files(self._max_files)
        except (BaseError, OSError) as error:
            raise self._translated(error) from None  # its text may show credentials
        return _without_markers(found)

    def _translated(self, error: Exception) -> Exception:
        if self._guard is not None and self._guard.refused is not None:
            return self._guard.refused
        return translate(error, str(self._uri))


def _without_markers(found: list[SourceObject]) -> tuple[SourceObject, ...]:
    """Sorted, and without the empty objects that stand for directories."""
    parents = {parent for item in found for parent in _parents(item.path)}
    return tuple(sorted((i for i in found if i.size or i.path not in parents), key=lambda item: item.path))


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _guard(settings: StoreSettings, options: FetchOptions, environment: Mapping[str, str]) -> AddressGuard | None:
    """The proxy for a custom endpoint; none where the rule is lifted, or a proxy of the cluster resolves names."""
    if settings.endpoint is None or options.allow_private_hosts:
        return None
    if any(environment.get(name) for name in _PROXIES):
        return None
    parts = urlsplit(settings.endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    check_host(parts.hostname or "", port, allow_private_hosts=False)
    return AddressGuard(options)


def open_store(
    uri: StorageUri, options: FetchOptions, environment: Mapping[str, str], *, retries: dict[str, Any]
) -> ObjectStore:
    """The store of a URI of scheme s3, gs or az, for writing. `retries` is obstore's configuration of them.

    Raises:
        StorageError: `Reason.INVALID_SETTING`, naming the variable.
    """
    return _open(uri, store_settings(uri, options, environment), None, retries)


def _open(
    uri: StorageUri, settings: StoreSettings, guard: AddressGuard | None, retries: dict[str, Any] | None = None
) -> ObjectStore:
    client: dict[str, Any] = dict(settings.client)
    if guard is not None:
        client["proxy_url"] = guard.url
        if settings.needs_metadata:
            client["proxy_excludes"] = METADATA_HOSTS
    kind: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[uri.scheme]
    try:
        store: ObjectStore = kind(
            uri.authority,
            config=settings.config,
            client_options=client,
            retry_config=retries or {"max_retries": 0},
        )
    except (BaseError, OSError, ValueError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise StorageError(
            Reason.INVALID_SETTING,
            f"the settings for {uri} are not usable: {first}",
            remedy="check the provider's variables and the CA bundle",
        ) from None  # the cause would show settings
    return store


def translate(error: Exception, shown: str) -> Exception:
    """What an error of obstore means: a `StorageError`, or `SourceChanged`."""
    text = str(error)
    status = int(match[1]) if (match := _STATUS.search(text)) else None
    code = match[1] if (match := _CODE.search(text)) else None
    if code in _NO_BUCKET or "bucket does not exist" in text:
        return StorageError(
            Reason.BUCKET_NOT_FOUND,
            f"the bucket of {shown} does not exist",
            remedy="check its name, region and endpoint",
        )
    if _METADATA.search(text):
        return StorageError(
            Reason.ACCESS_DENIED,
            f"there are no credentials for {shown}: none in the environment, and the metadata service gives none",
            remedy="give a Secret by the ServiceAccount, or awsAnonymousCredential=true for a public bucket",
        )
    if isinstance(error, FileNotFoundError):
        return StorageError(Reason.OBJECT_NOT_FOUND, f"{shown} does not exist", remedy="check bucket and key")
    if isinstance(error, PreconditionError) or status in {412, 416}:
        return SourceChanged()
    if isinstance(error, InvalidPathError):
        return StorageError(
            Reason.UNSAFE_PATH,
            f"{shown} has keys with empty, '.' or '..' parts",
            remedy="rename those objects, or name a narrower prefix",
        )
    denied = isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in {401, 403}
    if denied or code in _BAD_CREDENTIALS:
        return StorageError(
            Reason.ACCESS_DENIED,
            f"access to {shown} was refused ({code or status or 'no permission'})",
            remedy="check the credentials of the ServiceAccount, and that they may get and list these objects",
        )
    return _transfer_error(text, status, code, shown)


def _transfer_error(text: str, status: int | None, code: str | None, shown: str) -> StorageError:
    if status is not None and (300 <= status < 400 or "LOCATION" in text):
        return StorageError(
            Reason.DOWNLOAD_FAILED, f"the bucket of {shown} is in another region", remedy="set AWS_REGION to its region"
        )
    if status is not None:
        return StorageError(
            Reason.DOWNLOAD_FAILED,
            f"the store answered {status}{f' {code}' if code else ''} for {shown}",
            remedy="look at the state of the store",
            transient=status >= 500 or status in {408, 429},
        )
    if "ertificate" in text or "UnknownIssuer" in text:
        return StorageError(
            Reason.DOWNLOAD_FAILED,
            f"the certificate of the endpoint of {shown} is not trusted",
            remedy="give its certificate authority in AWS_CA_BUNDLE or PILLION_STORAGE_CA_BUNDLE",
        )
    if "builder error" in text:
        return StorageError(
            Reason.INVALID_SETTING, f"the endpoint of {shown} is not usable", remedy="write http(s)://host:port"
        )
    stalled = "TimedOut" in text or "Timeout" in text
    return StorageError(
        Reason.DOWNLOAD_STALLED if stalled else Reason.DOWNLOAD_FAILED,
        f"the connection to the store of {shown} {'timed out' if stalled else 'broke, or could not be made'}",
        remedy="check the endpoint, DNS and network policies",
        transient=True,
    )
