"""One application of a server: its place in the paths, its limits, and what is done around each of its requests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from pillion.applications.conversation import Conversation
from pillion.applications.encoding import Compressing
from pillion.applications.exchange import Exchange
from pillion.applications.gate import Gate
from pillion.applications.measures import Measures
from pillion.applications.templates import template_of
from pillion.errors import ErrorCode, PillionError
from pillion.transport.drain import DrainState
from pillion.transport.http.answer import error_answer, send_answer
from pillion.transport.http.compression import wanted_coding
from pillion.transport.http.headers import new_request_id, request_id, timeout_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.dataplane.plane import DataPlane
    from pillion.runtimefile import DesiredApplication

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["ApplicationOptions", "ApplicationRecord", "Served"]


class ApplicationRecord(msgspec.Struct, frozen=True):
    """One request that has ended, for the access log. ``status`` 499 means that the client left before the answer."""

    request_id: str
    application: str
    method: str
    path: str
    route: str
    """The template of the route that took it; empty where none did."""
    status: int
    seconds: float
    bytes: int


class ApplicationOptions(msgspec.Struct, frozen=True):
    """Settings and collaborators of all applications of a server."""

    own: frozenset[str] = frozenset()
    """Further paths of the runtime, which no application hides."""
    root_path: str = ""
    """Below which a proxy publishes all."""
    timeout: float | None = None
    """Seconds that a request may take, where the application says nothing else."""
    max_ongoing: int = 1024
    max_queued: int = 128
    websocket_idle: float = 300.0
    """Seconds without a message in either direction after which a WebSocket is closed."""
    compress_min_bytes: int = 8 * 1024
    """Answers of handlers from which they are compressed for who asks for it; 0: none are."""
    drain: DrainState = msgspec.field(default_factory=DrainState)
    on_ended: Callable[[ApplicationRecord], None] | None = None
    choose: Callable[[], bool] | None = None
    """Whether a request gets a line in the access log, asked when it begins."""
    clock: Callable[[], float] = time.monotonic
    plane: DataPlane | None = None
    """Where the models of the server are."""


class Served:
    """An ASGI application around another.

    Args:
        desired: its name, prefix and limits.
        app: the other.
        options: of the server.
        raw: whether it is a handler of which only the result is its own: its answers may be compressed.
    """

    def __init__(self, desired: DesiredApplication, app: ASGIApp, options: ApplicationOptions, *, raw: bool) -> None:
        self.name = desired.name
        self.prefix = desired.route_prefix
        self.app = app
        self.state: dict[str, Any] = {}
        """What its lifespan gave; each request gets a copy."""
        self.clock = options.clock
        self.plane = options.plane
        self._options = options
        self._raw = raw
        self._root = options.root_path.rstrip("/")
        self._mount = self._root + (self.prefix if self.prefix != "/" else "")
        self._timeout = desired.request_timeout_seconds or options.timeout
        self._compress = options.compress_min_bytes if raw else 0
        self.gate = Gate(
            desired.name,
            desired.max_ongoing_requests or options.max_ongoing,
            options.max_queued if desired.max_queued_requests is None else desired.max_queued_requests,
            options.clock,
        )
        self.measures = Measures(lambda: self.gate.running, lambda: self.gate.queued)
        self.exchanges: set[Exchange] = set()
        self.conversations: set[Conversation] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection scope, as ASGI defines it: a request or a WebSocket."""
        if scope["type"] == "websocket":
            await self._converse(scope, receive, send)
            return
        began = self._options.clock()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        identity = request_id(headers) if b"x-request-id" in headers else new_request_id()
        timeout = self._timeout
        try:
            if b"x-request-timeout-seconds" in headers or self._options.drain.draining:
                timeout = self._admitted(headers)
        except PillionError as error:
            answer = error_answer(error, identity)
            await send_answer(send, answer, identity, head=scope["method"] == "HEAD", close=True)
            self.measures.request("", answer.status, self._options.clock() - began)
            return
        if self._compress and b"accept-encoding" in headers:
            coding = wanted_coding(headers[b"accept-encoding"])
            if coding is not None:
                send = Compressing(send, coding, self._compress)
        told = self._options.choose is not None and self._options.choose()
        seen = self._seen(scope, identity)
        exchange = Exchange(self, seen, send, identity, timeout)
        self.exchanges.add(exchange)
        try:
            await exchange.run(self.app, receive)
        finally:
            self.exchanges.discard(exchange)
            self._ended(scope, seen, exchange.status or 500, exchange.sent, began, told=told)

    def _ended(self, scope: Scope, seen: Scope, status: int, sent: int, began: float, *, told: bool) -> None:
        """Count a request or a WebSocket that has ended, and tell of it where that was chosen."""
        seconds = self._options.clock() - began
        route = self.prefix if self._raw else template_of(seen, self._root)
        self.measures.request(route, status, seconds)
        if told and self._options.on_ended is not None:
            self._options.on_ended(
                ApplicationRecord(
                    request_id=seen["pillion.request_id"],
                    application=self.name,
                    method=scope.get("method", "WEBSOCKET"),
                    path=scope["path"],
                    route=route,
                    status=status,
                    seconds=seconds,
                    bytes=sent,
                )
            )

    def _admitted(self, headers: dict[bytes, bytes]) -> float | None:
        """The seconds that a request may take: those that the caller allows, where that is shorter.

        Raises:
            PillionError: it is not taken.
        """
        if self._options.drain.draining:
            raise PillionError(ErrorCode.DRAINING, "the server is stopping and takes no new requests")
        asked = timeout_seconds(headers)
        if asked is None or self._timeout is None:
            return asked if asked is not None else self._timeout
        return min(asked, self._timeout)

    def _seen(self, scope: Scope, identity: str) -> Scope:
        """The scope as the application is to see it: mounted below its prefix, with its own state."""
        path: str = scope["path"]
        raw: bytes = scope.get("raw_path") or path.encode()
        root = self._root
        if root and not (path == root or path.startswith(root + "/")):  # the proxy took it off
            path, raw = root + path, root.encode() + raw
        if not self._raw and path == self._mount:
            # The prefix itself is the application's "/": without the slash routers would redirect to it.
            path, raw = path + "/", raw + b"/"
        return {
            **scope,
            "path": path,
            "raw_path": raw,
            "root_path": self._mount,
            "state": self.state.copy(),
            "pillion.request_id": identity,
        }

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        identity = request_id(headers) if b"x-request-id" in headers else new_request_id()
        began = self._options.clock()
        told = self._options.choose is not None and self._options.choose()
        seen = self._seen(scope, identity)
        conversation = Conversation(self.name, seen, receive, send, identity, self._options.websocket_idle, self.plane)
        self.conversations.add(conversation)
        self.measures.sockets += 1
        try:
            await conversation.run(self.app)
        finally:
            self.measures.sockets -= 1
            self.conversations.discard(conversation)
            self._ended(scope, seen, conversation.status, conversation.sent, began, told=told)
