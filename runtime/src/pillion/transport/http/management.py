"""``/management/models`` and ``/info/...``: models that come and go by requests, in the shapes of caikit's clients.

Imported by the first such request. Files are written as they arrive, so that a model of any size takes no more memory
than a small one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import msgspec
import orjson

from pillion.dataplane.call import new_request_id
from pillion.errors import ErrorCode, PillionError
from pillion.management.audit import Who
from pillion.management.information import version_document
from pillion.management.orders import DeployRequest, IncomingFiles, deploy, missing, order, staged
from pillion.model import ModelState
from pillion.protocol.json_errors import decode_json
from pillion.route_prefix import below
from pillion.transport.http.answer import Answer, json_answer, send_answer, task_error_answer
from pillion.transport.http.body import ClientDisconnected, read_body, too_large
from pillion.transport.http.caller import client_of
from pillion.transport.http.headers import request_id
from pillion.transport.http.managed import admitted
from pillion.transport.http.multipart_stream import MultipartParser, Part, boundary_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.dataplane.call import InferencePlane
    from pillion.management.deployments import Deployments
    from pillion.modelstore import Staging
    from pillion.transport.management_access import ManagementOptions

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["ManagementApp"]

_log: Final = logging.getLogger("pillion.http")
_INTERNAL: Final = "Internal error; the server's log has it under this id"
_DISCARDED: Final = 64 * 1024 * 1024
_DISCARD_SECONDS: Final = 1.0
_LARGEST_FIELD: Final = 256 * 1024
_FIELDS: Final = frozenset({"model_id", "metadata", "format", "storage_uri", "digest", "version"})
_TRUE: Final = frozenset({"1", "true", "yes"})


class _Alias(msgspec.Struct, forbid_unknown_fields=True):
    """The body that gives an alias to a version."""

    model_id: str
    alias: str
    version: str


class _Config(msgspec.Struct, forbid_unknown_fields=True):
    """The body that gives a model another config."""

    model_id: str
    config: dict[str, Any]
    version: str | None = None


_CONFIG: Final = msgspec.json.Decoder(_Config)
_ALIAS: Final = msgspec.json.Decoder(_Alias)
_DEPLOY: Final = msgspec.json.Decoder(DeployRequest)


class ManagementApp:
    """An ASGI application for some paths.

    Args:
        deployments: what deploys.
        plane: whose readiness ``/health`` tells.
        options: who may change models, and how large they may be.
    """

    def __init__(self, deployments: Deployments, plane: InferencePlane, options: ManagementOptions) -> None:
        self._deployments = deployments
        self._plane = plane
        self._options = options
        self._in_memory = asyncio.Semaphore(2)
        """Bodies of JSON, which are in memory as a whole."""
        self._routes: dict[tuple[str, str], Callable[[Scope, Receive, Who], Awaitable[Answer]]] = {
            ("/management/models", "POST"): self._deploy,
            ("/management/models", "DELETE"): self._undeploy,
            ("/management/aliases", "GET"): self._aliases,
            ("/management/aliases", "POST"): self._alias,
            ("/management/aliases", "DELETE"): self._unalias,
            ("/management/config", "POST"): self._reconfigure,
            ("/info/models", "GET"): self._models,
            ("/info/version", "GET"): self._version,
            ("/health", "GET"): self._health,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        identity = request_id(headers) if b"x-request-id" in headers else new_request_id()
        who = Who(client_of(scope), request_id=identity)
        reading = _Reading(receive)
        try:
            answer = await self._answer(scope, reading.receive, who)
        except ClientDisconnected:
            return
        except Exception as error:  # noqa: BLE001 - the boundary: the client gets the error's shape
            answer = _failed(error, identity, self._methods(scope["path"].rstrip("/")))
            await reading.discard()
        if not reading.ended and scope["method"] in ("POST", "PUT"):
            answer.headers = (*answer.headers, (b"connection", b"close"))  # what was not read is in the way
        await send_answer(send, answer, identity, head=scope["method"] == "HEAD", close=False)

    async def _answer(self, scope: Scope, receive: Receive, who: Who) -> Answer:
        path = below(scope["path"], scope.get("root_path") or "").rstrip("/")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        handle = self._routes.get((path, method))
        if handle is None:
            raise PillionError(
                ErrorCode.METHOD_NOT_ALLOWED, f"{method} is not allowed here, only {', '.join(self._methods(path))}"
            )
        return await handle(scope, receive, who)

    def _methods(self, path: str) -> list[str]:
        """Those of a path."""
        return [method for known, method in self._routes if known == path]

    # --- information

    async def _models(self, scope: Scope, _: Receive, __: Who) -> Answer:
        names = _query(scope).get("model_ids", [])
        return json_answer({"models": msgspec.to_builtins(await self._deployments.information(names))})

    async def _version(self, _: Scope, __: Receive, ___: Who) -> Answer:
        return json_answer(await asyncio.to_thread(version_document))

    async def _health(self, _: Scope, __: Receive, ___: Who) -> Answer:
        if self._plane.ready():
            return Answer(b"OK", content_type=b"text/plain; charset=utf-8")
        waiting = [
            f"{status.name} ({status.reason or status.state.value})"
            for status in self._plane.statuses()
            if status.state is not ModelState.READY and not status.asleep
        ]
        if not waiting:
            raise PillionError(ErrorCode.NOT_READY, "there is no model, or the server is stopping")
        raise PillionError(ErrorCode.NOT_READY, f"models that are not ready: {', '.join(waiting[:10])}")

    # --- changes

    def _allowed(self, scope: Scope, who: Who, action: str, model: str) -> Who:
        """Let the caller in, or tell the log that somebody tried."""
        return admitted(self._options.access, dict(scope["headers"]), action, model, who)

    async def _undeploy(self, scope: Scope, _: Receive, who: Who) -> Answer:
        query = _query(scope)
        name = query.get("model_id", [""])[0]
        who = self._allowed(scope, who, "undeploy", name)
        if not name:
            raise missing("model_id", "add ?model_id=NAME")
        purge = query.get("purge", ["false"])[0].lower() in _TRUE
        await self._deployments.undeploy(name, who, purge=purge)
        return json_answer({"model_id": name})

    async def _aliases(self, scope: Scope, _: Receive, who: Who) -> Answer:
        name = _query(scope).get("model_id", [""])[0]
        self._allowed(scope, who, "aliases", name)
        if not name:
            raise missing("model_id", "add ?model_id=NAME")
        return json_answer({"model_id": name, "aliases": await self._deployments.aliases(name)})

    async def _alias(self, scope: Scope, receive: Receive, who: Who) -> Answer:
        who = self._allowed(scope, who, "alias", "")
        async with self._in_memory:
            body = await read_body(receive, await receive(), dict(scope["headers"]), _LARGEST_FIELD)
            request = decode_json(_ALIAS.decode, body)
        given = await self._deployments.alias(request.model_id, request.alias, request.version, who)
        return json_answer({"model_id": request.model_id, "aliases": given})

    async def _unalias(self, scope: Scope, _: Receive, who: Who) -> Answer:
        query = _query(scope)
        name, alias = query.get("model_id", [""])[0], query.get("alias", [""])[0]
        who = self._allowed(scope, who, "alias", name)
        if not name or not alias:
            raise missing("alias" if name else "model_id", "add ?model_id=NAME&alias=ALIAS")
        return json_answer({"model_id": name, "aliases": await self._deployments.alias(name, alias, None, who)})

    async def _reconfigure(self, scope: Scope, receive: Receive, who: Who) -> Answer:
        who = self._allowed(scope, who, "reconfigure", "")
        async with self._in_memory:
            body = await read_body(receive, await receive(), dict(scope["headers"]), _LARGEST_FIELD)
            request = decode_json(_CONFIG.decode, body)
        done = self._deployments.reconfigure(request.model_id, request.version, request.config, who)
        return json_answer(msgspec.to_builtins(await self._deployments.changes.unbroken(done)))

    async def _deploy(self, scope: Scope, receive: Receive, who: Who) -> Answer:
        name = _query(scope).get("model_id", [""])[0]
        who = self._allowed(scope, who, "deploy", name)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        media = headers.get(b"content-type", b"")
        kind = media.partition(b";")[0].strip().lower()
        if kind == b"multipart/form-data":
            return await self._by_parts(boundary_of(media), name, receive, who)
        if kind not in (b"application/json", b""):
            raise PillionError(
                ErrorCode.UNSUPPORTED_MEDIA_TYPE,
                f"Content-Type {kind.decode('latin-1')[:80]!r} is neither application/json nor multipart/form-data",
                field="Content-Type",
                remedy="use curl --json, or curl -F for files",
            )
        async with self._in_memory:
            body = await read_body(receive, await receive(), headers, self._options.max_json_bytes)
            request = decode_json(_DEPLOY.decode, body)
            del body
            return _deployed(await deploy(self._deployments, request, who, name))

    async def _by_parts(self, boundary: bytes, name: str, receive: Receive, who: Who) -> Answer:
        async with staged(self._deployments) as staging:
            upload = _Upload(staging, MultipartParser(boundary), self._options.max_upload_bytes)
            try:
                await upload.read(receive)
            finally:
                upload.close()
            fields = upload.fields
            metadata = decode_json(orjson.loads, fields["metadata"].encode()) if "metadata" in fields else {}
            if not isinstance(metadata, dict):
                raise PillionError(ErrorCode.INVALID_ARGUMENT, "metadata: not a JSON object", field="metadata")
            chosen = fields.get("model_id") or name
            if not upload.files:
                request = DeployRequest(
                    chosen, None, fields.get("storage_uri"), fields.get("digest"), fields.get("version"), metadata,
                    fields.get("format"),
                )  # fmt: skip
                return _deployed(await deploy(self._deployments, request, who, name))
            return _deployed(
                await self._deployments.deploy(order(chosen, metadata, fields.get("format")), staging, who)
            )


class _Reading:
    """Knows whether the whole body was read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False
        self.taken = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self.taken += len(message.get("body", b""))
        self.ended = self.ended or not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Read on for a moment, so that who is still sending sees the answer rather than a reset."""
        limit = self.taken + _DISCARDED
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                while not self.ended and self.taken < limit:
                    await self.receive()


class _Upload:
    """A body of parts that is written to a version while it arrives."""

    def __init__(self, staging: Staging, parser: MultipartParser, limit: int) -> None:
        self._files = IncomingFiles(staging)
        self._parser = parser
        self._limit = limit
        self._field = ""
        self._pending = bytearray()
        self.fields: dict[str, str] = {}

    @property
    def files(self) -> int:
        """How many there were."""
        return self._files.count

    async def read(self, receive: Receive) -> None:
        """All of it.

        Raises:
            PillionError: it is malformed, larger than allowed, or names files that may not be.
            ClientDisconnected: it ended too early.
        """
        taken, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            data: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            taken += len(data)
            if taken > self._limit:
                raise too_large(self._limit, "management.max_upload_bytes")
            for found in self._parser.feed(data):
                if found is None:
                    await self._end()
                elif isinstance(found, Part):
                    await self._begin(found)
                elif self._files.writing:
                    await self._files.write(found)
                else:
                    self._add(found)
        self._parser.close()

    async def _begin(self, part: Part) -> None:
        if part.filename is not None:
            await self._files.begin(part.filename)
        elif part.name in _FIELDS:
            self._field = part.name
        else:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"there is no field {part.name[:80]!r}",
                field=part.name[:80],
                remedy=f"fields are {', '.join(sorted(_FIELDS))}; files have a file name",
            )

    def _add(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) > _LARGEST_FIELD:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"the field {self._field} is larger than {_LARGEST_FIELD} bytes",
                field=self._field,
                remedy="send it as a file: name=@FILE",
            )

    async def _end(self) -> None:
        if self._files.writing:
            await self._files.end()
            return
        try:
            self.fields[self._field] = self._pending.decode()
        except UnicodeDecodeError:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT, f"{self._field}: not valid UTF-8", field=self._field
            ) from None
        self._pending = bytearray()

    def close(self) -> None:
        """Give up what is incomplete."""
        self._files.close()


def _deployed(info: msgspec.Struct) -> Answer:
    return json_answer(msgspec.to_builtins(info))


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True, max_num_fields=1000)


def _failed(error: Exception, identity: str, methods: list[str]) -> Answer:
    """The answer to an error; ``methods`` are those of the path."""
    if isinstance(error, PillionError):
        allow = ((b"allow", ", ".join(methods).encode()),) if error.code is ErrorCode.METHOD_NOT_ALLOWED else ()
        challenge = ((b"www-authenticate", b"Bearer"),) if error.code is ErrorCode.UNAUTHENTICATED else ()
        return task_error_answer(error, identity, headers=(*allow, *challenge))
    _log.error("unexpected failure", exc_info=error, extra={"request_id": identity})
    return task_error_answer(PillionError(ErrorCode.INTERNAL, _INTERNAL), identity)
