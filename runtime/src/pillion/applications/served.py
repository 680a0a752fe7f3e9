"""One application of a server: its place in the paths, its limits, and what is done around each of its requests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from pillion.applications.conversation import RESTARTING, Conversation
from pillion.applications.encoding import Compressing
from pillion.applications.exchange import Exchange
from pillion.applications.gate import Gate
from pillion.applications.health import HealthOptions
from pillion.applications.measures import Measures
from pillion.applications.raw import RawApplication
from pillion.applications.request import WholeRequest
from pillion.applications.streamed import Streamed
from pillion.applications.templates import template_of
from pillion.dataplane.call import new_request_id
from pillion.errors import ErrorCode, PillionError
from pillion.transport.body_budget import BodyBudget
from pillion.transport.drain import DrainState
from pillion.transport.http.answer import error_answer, refuse_connection, send_answer
from pillion.transport.http.budget import hold
from pillion.transport.http.compression import wanted_coding
from pillion.transport.http.headers import request_id, timeout_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.applications.kinds import Built
    from pillion.applications.streamed import Arrived
    from pillion.dataplane.plane import DataPlane
    from pillion.runtimefile import DesiredApplication
    from pillion.transport.http.budget import HeldBytes

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
    client: str
    """The address of who asked."""
    version: str
    """Of HTTP."""


class ApplicationOptions(msgspec.Struct, frozen=True):
    """Settings and collaborators of all applications of a server."""

    own: frozenset[str] = frozenset()
    """Further paths of the runtime, which no application hides."""
    timeout: float | None = None
    """Seconds that a request may take, where the application says nothing else."""
    first_byte: float | None = None
    """Seconds within which an answer has to begin."""
    idle: float | None = None
    """Seconds between two pieces of one."""
    max_ongoing: int = 1024
    max_queued: int = 512
    websocket_idle: float = 300.0
    """Seconds without a message in either direction after which a WebSocket is closed."""
    compress_min_bytes: int = 8 * 1024
    """Answers of handlers from which they are compressed for who asks for it; 0: none are."""
    bodies: BodyBudget = msgspec.field(default_factory=BodyBudget)
    """Bodies in memory at a time, those of models and of all applications together."""
    drain: DrainState = msgspec.field(default_factory=DrainState)
    on_ended: Callable[[ApplicationRecord], None] | None = None
    choose: Callable[[], bool] | None = None
    """Whether a request gets a line in the access log, asked when it begins."""
    health: HealthOptions = HealthOptions()
    clock: Callable[[], float] = time.monotonic
    plane: DataPlane | None = None
    """Where the models of the server are."""


class Served:
    """An ASGI application around another.

    Args:
        desired: its name, prefix and limits.
        built: the other. Of a handler only the result is its own: its answers may be compressed.
        options: of the server.
    """

    def __init__(self, desired: DesiredApplication, built: Built, options: ApplicationOptions) -> None:
        self.name = desired.name
        self.prefix = desired.route_prefix
        self.app = built.app
        self.instance = built.instance
        self.state: dict[str, Any] = {}
        """What its lifespan gave; each request gets a copy."""
        self.clock = options.clock
        self.plane = options.plane
        self.first_byte = options.first_byte
        self.idle = options.idle
        self._options = options
        self._raw = built.raw
        self._direct = isinstance(built.app, RawApplication) and built.app.direct
        """Whether requests that come whole are answered without ASGI."""
        self._below = self.prefix if self.prefix != "/" else ""
        self._timeout = desired.request_timeout_seconds or options.timeout
        self._compress = options.compress_min_bytes if built.raw else 0
        self.gate = Gate(
            desired.name,
            desired.max_ongoing_requests or options.max_ongoing,
            options.max_queued if desired.max_queued_requests is None else desired.max_queued_requests,
            options.clock,
        )
        self.measures = Measures(lambda: self.gate.running, lambda: self.gate.queued)
        self.exchanges: set[Exchange] = set()
        self.conversations: set[Conversation] = set()
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection scope, as ASGI defines it: a request or a WebSocket."""
        if scope["type"] == "websocket":
            await self._converse(scope, receive, send)
        else:
            await self.handle(Streamed(scope, receive, send))

    async def handle(self, request: Arrived) -> None:
        """A request, which may have come whole (see :class:`~pillion.transport.http.handled.DirectHandler`)."""
        try:
            began = self.clock()
            headers = dict(request.headers)
            identity = request_id(headers) if b"x-request-id" in headers else new_request_id()
            # What came whole is too small to be counted, unless it expands.
            counts = not request.whole or b"content-encoding" in headers
            held = hold(self._options.bodies, headers, request.receive) if counts else None
            told = self._options.choose is not None and self._options.choose()
            try:
                timeout = self._admitted(headers, held)
            except PillionError as error:
                answer = error_answer(error, identity)
                await send_answer(request.send, answer, identity, head=request.head, close=True)
                self._count(request.scope() if told else None, identity, "", answer.status, answer.size, began)
                return
            coded = self._compress and b"accept-encoding" in headers
            send = self._compressing(headers, request.send) if coded else request.send
            exchange = Exchange(self, request, send, identity, timeout)
            self.exchanges.add(exchange)
            try:
                work = self._answered if request.whole and self._direct else self._called
                await exchange.run(work, request.receive if held is None else held.receive)
            finally:
                if held is not None:
                    held.release()
                self.exchanges.discard(exchange)
                route = self.prefix if self._raw else template_of(exchange.made or {}, request.root)
                scope = request.scope() if told else None
                self._count(scope, identity, route, exchange.status or 500, exchange.sent, began)
        finally:
            request.ended()  # whatever happened: its connection would wait for ever

    def _called(self, exchange: Exchange, receive: Receive) -> Awaitable[None]:
        """Have the application answer."""
        return self.app(exchange.scope, receive, exchange.send)

    async def _answered(self, exchange: Exchange, receive: Receive) -> None:
        """Have the handler answer, by one write where its answer is one piece and nobody wants it compressed."""
        raw: RawApplication = self.app  # type: ignore[assignment]  # as `_direct` says
        request = exchange.request
        plain = await raw.perform(WholeRequest(exchange, receive, exchange.send, request.body), receive, exchange.send)
        if plain is None or exchange.over:
            return
        body, media = plain
        if not (len(body) >= self._compress > 0 and isinstance(exchange.channel, Compressing)):
            lines = b"content-length: %d\r\nx-request-id: %b\r\n" % (len(body), exchange.request_id.encode())
            if media is not None:
                lines += b"content-type: %b\r\n" % media
            if request.answer(200, lines, body):
                exchange.whole(200, len(body))
                return
        fields = [(b"content-length", b"%d" % len(body))]
        if media is not None:
            fields.append((b"content-type", media))
        await exchange.send({"type": "http.response.start", "status": 200, "headers": fields})
        await exchange.send({"type": "http.response.body", "body": body})

    def _compressing(self, headers: dict[bytes, bytes], send: Send) -> Send:
        coding = wanted_coding(headers[b"accept-encoding"])
        return send if coding is None else Compressing(send, coding, self._compress)

    def _count(self, scope: Scope | None, identity: str, route: str, status: int, sent: int, began: float) -> None:
        """Count a request or a WebSocket that has ended, and tell of it where its scope is given."""
        seconds = self.clock() - began
        self.measures.request(route, status, seconds)
        if scope is None or self._options.on_ended is None:
            return
        self._options.on_ended(
            ApplicationRecord(
                request_id=identity,
                application=self.name,
                method=scope.get("method", "WEBSOCKET"),
                path=scope["path"],
                route=route,
                status=status,
                seconds=seconds,
                bytes=sent,
                client=scope["client"][0] if scope.get("client") else "",
                version=scope.get("http_version", "1.1"),
            )
        )

    def _admitted(self, headers: dict[bytes, bytes], held: HeldBytes | None) -> float | None:
        """The seconds that a request may take: those that the caller allows, where that is shorter.

        Raises:
            PillionError: it is not taken.
        """
        timeout = self._timeout
        if self._options.drain.draining:
            raise _draining()
        if b"x-request-timeout-seconds" in headers:
            asked = timeout_seconds(headers)
            if asked is not None:
                timeout = asked if timeout is None else min(asked, timeout)
        if held is not None:
            held.reserve()  # before the application, which would answer a refusal in its own way
        return timeout

    def seen(self, scope: Scope, root: str, identity: str) -> Scope:
        """A scope made as the application is to see it: mounted below its prefix, with its state.

        Args:
            scope: whose path is whole; it is changed.
            root: below which a proxy publishes all.
            identity: the request's id.
        """
        path: str = scope["path"]
        raw: bytes = scope.get("raw_path") or path.encode()
        mount = root + self._below
        if not self._raw and path == mount:
            # The prefix itself is the application's "/": without the slash routers would redirect to it.
            path, raw = path + "/", raw + b"/"
        scope["path"] = path
        scope["raw_path"] = raw
        scope["root_path"] = mount
        scope["state"] = self.state.copy()
        scope["pillion.request_id"] = identity
        return scope

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        identity = request_id(headers) if b"x-request-id" in headers else new_request_id()
        began = self._options.clock()
        told = scope if self._options.choose is not None and self._options.choose() else None
        if self._closing or self._options.drain.draining:
            error = _draining()
            answer = error_answer(error, identity)
            await refuse_connection(scope, send, error, answer, identity)
            self._count(told, identity, "", answer.status, answer.size, began)
            return
        root = scope.get("root_path") or ""
        seen = self.seen({**scope}, root, identity)
        conversation = Conversation(self.name, seen, receive, send, identity, self._options.websocket_idle, self.plane)
        self.conversations.add(conversation)
        self.measures.sockets += 1
        try:
            await conversation.run(self.app)
        finally:
            self.measures.sockets -= 1
            self.conversations.discard(conversation)
            route = self.prefix if self._raw else template_of(seen, root)
            self._count(told, identity, route, conversation.status, conversation.sent, began)

    def close_conversations(self) -> None:
        """End every WebSocket with the code that says that the server restarts, and take no more."""
        self._closing = True
        for conversation in list(self.conversations):
            conversation.end(RESTARTING, "the server stops")


def _draining() -> PillionError:
    return PillionError(ErrorCode.DRAINING, "the server is stopping and takes no new requests")
