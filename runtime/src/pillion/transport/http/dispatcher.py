"""The ASGI app in front: inference, health, metadata and repository by one look-up, everything else to the fallback.

A route inside a web framework costs more than a small model's prediction. So the routes that clients call in a loop
are answered here, without middleware; documentation, management and whatever else a server offers lives in the
fallback app.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from pillion.errors import ErrorCode, PillionError
from pillion.transport.http.answer import Answer, error_answer, send_answer
from pillion.transport.http.body import ClientDisconnected
from pillion.transport.http.errors import CLIENT_CLOSED_REQUEST
from pillion.transport.http.headers import new_request_id, request_id
from pillion.transport.http.infer import InferHandler
from pillion.transport.http.oip import InformationHandler
from pillion.transport.http.options import AnswerRecord, DispatchOptions
from pillion.transport.http.routes import METHODS, Route, resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.dataplane.call import InferencePlane
    from pillion.transport.http.routes import Target

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Dispatcher"]

_log: Final = logging.getLogger("pillion.http")
_INTERNAL: Final = "Internal error; the server's log has it under this id"
_UNREAD: Final = frozenset({ErrorCode.PAYLOAD_TOO_LARGE, ErrorCode.UNSUPPORTED_MEDIA_TYPE})
"""Refused before the body was read: the connection cannot be used again."""
_KEPT_PATHS: Final = 1024


class Dispatcher:
    """An ASGI 3 application.

    Args:
        plane: what answers.
        fallback: the ASGI app for every path that is not one of :class:`~pillion.transport.http.routes.Route`, and
            for every scope that is not HTTP (lifespan, WebSocket).
        options: settings and collaborators.
    """

    def __init__(self, plane: InferencePlane, fallback: ASGIApp, options: DispatchOptions | None = None) -> None:
        self._fallback = fallback
        self._options = options or DispatchOptions()
        self._drain = self._options.drain
        self._known: dict[bytes, Target] = {}
        self._inference = InferHandler(plane, self._options)
        self._infer = self._inference.infer
        self._information = InformationHandler(plane, self._options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection scope, as ASGI defines it."""
        if scope["type"] != "http":
            await self._fallback(scope, receive, send)
            return
        target = self._known.get(scope["raw_path"]) if scope.get("raw_path") else None
        if target is None:
            target = self._resolve(scope)
            if target is None:
                await self._fallback(scope, receive, send)
                return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        identity = request_id(headers) if b"x-request-id" in headers else new_request_id()
        method: str = scope["method"]
        started = time.monotonic() if self._options.on_answer is not None else 0.0
        answer: Answer | None
        try:
            if target.route is Route.INFER and method == "POST":
                answer = await self._infer(target, headers, receive, identity)
            else:
                answer = await self._answer(target, method, headers, receive, identity)
        except PillionError as error:
            answer = _failed(error, identity, target)
        except ClientDisconnected:
            answer = None
        except Exception:  # noqa: BLE001  # the boundary: whatever it was, the client gets the protocol's error shape
            _log.exception("unexpected failure", extra={"request_id": identity})
            answer = error_answer(PillionError(ErrorCode.INTERNAL, _INTERNAL), identity)
        if answer is not None:
            await send_answer(send, answer, identity, head=method == "HEAD", close=self._drain.draining)
        if self._options.on_answer is not None:
            self._record(scope, identity, answer, started, target)

    def _resolve(self, scope: Scope) -> Target | None:
        target = resolve(_path(scope))
        # Only what leads somewhere is kept, so that made-up paths cannot fill the memory; mounted apps are not, as
        # their root differs from request to request.
        if target is not None and not scope.get("root_path") and len(self._known) < _KEPT_PATHS:
            self._known[scope.get("raw_path") or b""] = target
        return target

    async def _answer(
        self, target: Target, method: str, headers: dict[bytes, bytes], receive: Receive, identity: str
    ) -> Answer:
        if method not in METHODS[target.route] and target.route is not Route.UNKNOWN:
            allowed = ", ".join(METHODS[target.route])
            raise PillionError(ErrorCode.METHOD_NOT_ALLOWED, f"{method} is not allowed here, only {allowed}")
        if target.route is Route.V1_PREDICT:
            return await self._inference.predict(target, headers, receive, identity)
        return await self._information.answer(target, receive, identity)

    def _record(self, scope: Scope, identity: str, answer: Answer | None, started: float, target: Target) -> None:
        record = AnswerRecord(
            request_id=identity,
            method=scope["method"],
            path=scope["path"],
            status=answer.status if answer else CLIENT_CLOSED_REQUEST,
            code=answer.code if answer else ErrorCode.CANCELLED.value,
            seconds=time.monotonic() - started,
            model=target.model,
        )
        if self._options.on_answer is not None:
            self._options.on_answer(record)


def _failed(error: PillionError, identity: str, target: Target) -> Answer | None:
    """The answer to a request that failed; None when nobody is there to read it."""
    if error.code is ErrorCode.CANCELLED:
        return None
    if error.code is ErrorCode.METHOD_NOT_ALLOWED:
        return error_answer(error, identity, headers=((b"allow", ", ".join(METHODS[target.route]).encode()),))
    if error.code in _UNREAD:
        return error_answer(error, identity, headers=((b"connection", b"close"),))
    return error_answer(error, identity)


def _path(scope: Scope) -> str:
    """The path below the mount point, percent-decoded; an encoded slash does not start a new segment."""
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    root: str = scope.get("root_path") or ""
    if root and path.startswith(root):
        path = path[len(root) :]
    elif b"%" in raw and b"%2f" in raw.lower():
        path = "/".join(unquote(part).replace("/", "%2F") for part in raw.decode("latin-1").split("/"))
    return path
