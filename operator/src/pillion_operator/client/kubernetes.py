"""The API server's verbs that the operator uses, over aiohttp: the HTTP library that kopf brings anyway.

Objects stay JSON objects: the operator compares and forwards what others may have extended, so decoding into fixed
classes would lose fields and cost time. Every write passes the fence.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self, cast

import aiohttp
import msgspec

from pillion_operator.client.errors import ApiError, NotLeaderError
from pillion_operator.client.fence import Fence, FencedBody, OpenFence
from pillion_operator.state.manifest import Key, key_of, number_at, object_at, objects_at, text_at
from pillion_operator.state.names import FIELD_MANAGER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from types import TracebackType

    from pydantic import JsonValue

    from pillion_operator.client.connection import Connection
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest

__all__ = ["Change", "KubernetesClient", "Listing", "RequestObserver"]

_JSON: Final = "application/json"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
#: A write must have left the process for good before another replica may lead: 12 s of lease less 8 s of certainty.
_WRITE_SECONDS: Final = 4.0
_READ_SECONDS: Final = 30.0
_SILENT_SECONDS: Final = 75.0


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of a kind at one moment, which `version` names."""

    items: tuple[Manifest, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a watch tells: `ADDED`, `MODIFIED` or `DELETED`, and the object as it is, or was last."""

    type: str
    manifest: Manifest


class RequestObserver(Protocol):
    """Counts requests, for metrics."""

    def __call__(self, verb: str, kind: str, status: int, seconds: float) -> None:
        """Take note of one finished request; status 0 where no answer came."""


def _ignore(verb: str, kind: str, status: int, seconds: float) -> None:
    del verb, kind, status, seconds


class KubernetesClient:
    """One session to one API server. An asynchronous context manager."""

    def __init__(self, connection: Connection, fence: Fence, observer: RequestObserver = _ignore) -> None:
        self._connection = connection
        self._fence = fence
        self._observer = observer
        self._headers: dict[str, str] = {}
        self._login()

    def _login(self) -> None:
        info = self._connection.login()
        self._server = info.server.rstrip("/")
        self._tls = info.as_ssl_context() if self._server.startswith("https") else None
        self._headers = dict(info.as_http_headers())

    async def __aenter__(self) -> Self:
        """Open the session."""
        # No limit of connections: who may write is decided right before sending, never before a queue.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=75, ssl=self._tls or True)
        self._session = aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": FIELD_MANAGER}, auto_decompress=True
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the session."""
        await self._session.close()

    async def get(self, kind: Kind, key: Key, *, subresource: str = "") -> Manifest | None:
        """Return the object or a subresource of it, None where it is not there."""
        try:
            return await self._send(f"get {subresource}".strip(), kind, kind.path(key, subresource))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def list(
        self, kind: Kind, namespace: str = "", *, label_selector: str = "", metadata_only: bool = False
    ) -> Listing:
        """Return every object of the kind, in one namespace where given.

        Of their metadata alone, where that is enough, who owns which field and the annotations are left out: they are
        most of it, and of thousands of objects they would be held for a moment, too.
        """
        params = {"labelSelector": label_selector} if label_selector else {}
        answer = await self._send(
            "list",
            kind,
            kind.collection(namespace),
            params=params,
            accept=_METADATA_LIST if metadata_only else _JSON,
        )
        items = objects_at(answer, "items")
        # Items of a list carry no kind; the caches and the appliers want it.
        for item in items:
            item["apiVersion"], item["kind"] = kind.api_version, kind.name
        return Listing(tuple(items), text_at(answer, "metadata", "resourceVersion"))

    async def watch(
        self,
        kind: Kind,
        namespace: str,
        version: str,
        *,
        label_selector: str,
        seconds: int,
        metadata_only: bool = False,
    ) -> AsyncGenerator[Change, None]:
        """Yield what becomes of the objects, or of their metadata, after that version, for so many seconds at most.

        Raises:
            ApiError: the server does not know that version any more, or could not be asked.
        """
        params = {
            "watch": "1", "resourceVersion": version, "labelSelector": label_selector, "timeoutSeconds": str(seconds),
            "allowWatchBookmarks": "true",
        }  # fmt: skip
        # A connection that went silent is told from one on which nothing happens by the bookmarks of each minute.
        within = aiohttp.ClientTimeout(total=seconds + _READ_SECONDS, connect=_READ_SECONDS, sock_read=_SILENT_SECONDS)
        headers = self._connection.headers() | {"Accept": _METADATA if metadata_only else _JSON}
        try:
            async with self._session.get(
                self._server + kind.collection(namespace), params=params, headers=headers, timeout=within
            ) as response:
                if response.status >= 300:
                    raise ApiError.from_status(response.status, _decode(await response.read()))
                rest = b""
                async for piece in response.content.iter_any():
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        yield _change(line)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"the watch broke: {str(error) or type(error).__name__}") from error

    async def apply(
        self, kind: Kind, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Apply the manifest on the server and return the object as stored; `force` takes fields over from others."""
        params = {"fieldManager": manager, "force": "true" if force else "false", "fieldValidation": "Strict"}
        return await self._send(
            "apply", kind, kind.path(key_of(manifest)), params=params, body=manifest, content_type=_APPLY
        )

    async def scale(self, kind: Kind, key: Key, replicas: int, *, manager: str) -> None:
        """Set the number of replicas through the scale subresource, and own it.

        By server-side apply: a merge patch leaves no trace in `managedFields` while nobody owns the count yet, and
        then nobody can tell who set it.
        """
        metadata: Manifest = {"namespace": key.namespace, "name": key.name}
        spec: Manifest = {"replicas": replicas}
        body: Manifest = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": spec}
        params = {"fieldManager": manager, "force": "true"}
        await self._send("apply", kind, kind.path(key, "scale"), params=params, body=body, content_type=_APPLY)

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Create the object; a conflict where it is there already."""
        path = kind.collection(text_at(manifest, "metadata", "namespace"))
        return await self._send("create", kind, path, params={"fieldManager": FIELD_MANAGER}, body=manifest)

    async def replace(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Replace the object; a conflict where its resource version is not the stored one."""
        return await self._send(
            "update", kind, kind.path(key_of(manifest)), params={"fieldManager": FIELD_MANAGER}, body=manifest
        )

    async def merge(
        self,
        kind: Kind,
        key: Key,
        patch: Mapping[str, JsonValue],
        *,
        subresource: str = "",
        manager: str = FIELD_MANAGER,
    ) -> Manifest:
        """Merge-patch the object or its `status`; a conflict where the patch names another version than the stored."""
        return await self._send(
            f"patch {subresource}".strip(),
            kind,
            kind.path(key, subresource),
            params={"fieldManager": manager},
            body=dict(patch),
            content_type=_MERGE,
        )

    async def delete(self, kind: Kind, key: Key, *, uid: str) -> None:
        """Delete this very object, its dependents in the background; nothing where it is gone or replaced."""
        body: Manifest = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._send("delete", kind, kind.path(key), body=body)
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise

    async def discover(self, api_version: str) -> set[str]:
        """Return the plural names of the resources of a group and version; empty where it is not served.

        Raises:
            ApiError: the server answered something else than a list or that there is none.
        """
        started = time.monotonic()
        status, answer = await self._exchange("GET", f"/apis/{api_version}", {}, None, _JSON, _READ_SECONDS)
        self._observer("discover", "", status, time.monotonic() - started)
        if status >= 300 and status != 404:
            raise ApiError.from_status(status, answer)
        return {text_at(entry, "name") for entry in objects_at(answer, "resources")}

    async def review(self, namespace: str) -> Manifest:
        """Return what we may do in a namespace, and of what has none. Source: SelfSubjectRulesReview.

        Nothing is stored by it, so every replica may ask.

        Raises:
            ApiError: the API server could not be asked.
        """
        body: Manifest = {"apiVersion": _REVIEWS, "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
        payload = FencedBody(msgspec.json.encode(body), _JSON, OpenFence())
        started, status = time.monotonic(), 0
        try:
            path = f"/apis/{_REVIEWS}/selfsubjectrulesreviews"
            status, answer = await self._exchange("POST", path, {}, payload, _JSON, _READ_SECONDS)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"the API server did not answer: {type(error).__name__}") from error
        finally:
            self._observer("review", "selfsubjectrulesreviews", status, time.monotonic() - started)
        if status >= 300:
            raise ApiError.from_status(status, answer)
        return answer

    async def _send(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Manifest:
        method = _METHODS[verb.split(maxsplit=1)[0]]
        payload: FencedBody | None = None
        if body is not None:
            self._fence.check()
            payload = FencedBody(msgspec.json.encode(body), content_type, self._fence)
        started, status = time.monotonic(), 0
        try:
            seconds = _READ_SECONDS if body is None else _WRITE_SECONDS
            status, answer = await self._exchange(method, path, params or {}, payload, accept, seconds)
        except (aiohttp.ClientError, TimeoutError) as error:
            if body is not None and isinstance(error.__cause__, NotLeaderError):
                raise error.__cause__ from error
            raise ApiError(
                0, "Unreachable", f"the API server did not answer: {str(error) or type(error).__name__}"
            ) from error
        finally:
            self._observer(verb, kind.plural, status, time.monotonic() - started)
        if status >= 300:
            raise ApiError.from_status(status, answer)
        return answer

    async def _exchange(
        self, method: str, path: str, params: Mapping[str, str], body: FencedBody | None, accept: str, seconds: float
    ) -> tuple[int, Manifest]:
        for attempt in range(2):
            async with asyncio.timeout(seconds):
                async with self._session.request(
                    method,
                    self._server + path,
                    params=params,
                    data=body,
                    headers=self._headers | {"Accept": accept},
                    allow_redirects=False,
                ) as response:
                    content = await response.read()
                    if response.status == 401 and attempt == 0:
                        # The token was rotated since it was read.
                        self._headers = self._connection.headers()
                        continue
                    listed = accept == _METADATA_LIST and response.status < 300
                    return response.status, _metadata_of(content) if listed else _decode(content)
        raise AssertionError("the second attempt returns or raises")


_REVIEWS: Final = "authorization.k8s.io/v1"
_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "apply": "PATCH",
    "patch": "PATCH",
    "create": "POST",
    "update": "PUT",
    "delete": "DELETE",
}


def _change(line: bytes) -> Change:
    event = _decode(line)
    found = object_at(event, "object")
    if event.get("type") == "ERROR":
        raise ApiError.from_status(number_at(found, "code"), found)
    return Change(text_at(event, "type"), found)


class _Metadata(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str
    uid: str
    resource_version: str
    namespace: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    owner_references: list[dict[str, object]] = []


class _Item(msgspec.Struct):
    metadata: _Metadata


class _List(msgspec.Struct):
    metadata: dict[str, object]
    items: list[_Item]


_METADATA_OF_ALL: Final = msgspec.json.Decoder(_List)


def _metadata_of(content: bytes) -> Manifest:
    """Read a list of metadata, and of each what is used; what is read past takes no memory."""
    try:
        return cast("Manifest", msgspec.to_builtins(_METADATA_OF_ALL.decode(content)))
    except msgspec.DecodeError:
        return _decode(content)


def _decode(content: bytes) -> Manifest:
    try:
        return cast("Manifest", msgspec.json.decode(content, type=dict))
    except msgspec.DecodeError:
        # A proxy or an overloaded server answers plain text.
        return {"message": content[:500].decode(errors="replace").strip()}
