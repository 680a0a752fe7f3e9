"""Observed requests over HTTP: their names and attributes by OpenTelemetry's conventions, their line, their payload.

Source of names: OpenTelemetry semantic conventions 1.30, HTTP server spans. What is ours begins with ``pillion.``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.errors import ErrorCode
from pillion.tracing.context import trace_id_of
from pillion.transport.http.errors import CLIENT_CLOSED_REQUEST
from pillion.transport.http.options import AnswerRecord
from pillion.transport.http.routes import TASK_ROUTES, TEXT_ROUTES, Route
from pillion.transport.observation import Chooser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.payload.log import PayloadLog
    from pillion.payload.record import PayloadRecord
    from pillion.transport.http.answer import Answer
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target
    from pillion.transport.observation import Observed

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["HttpObserver"]

_PREDICTIONS = (
    frozenset({Route.INFER, Route.V1_PREDICT, Route.V1_EXPLAIN, Route.INVOCATIONS})
    | TASK_ROUTES
    | (TEXT_ROUTES - {Route.OPENAI_MODELS, Route.OPENAI_MODEL})
)
_VERSIONED = "/v2/models/{model}/versions/{version}/infer"


class HttpObserver:
    """Chooses requests, and tells of them when they have ended."""

    def __init__(self, options: DispatchOptions) -> None:
        access = options.access if options.on_answer is not None else 0.0
        self._chooser = Chooser(options.tracer, access, options.payloads, options.clock)
        self.choose_prediction = self._chooser.choose
        """The same for a request that is known to be one, from its headers."""
        self._on_answer = options.on_answer

    def choose(self, target: Target, headers: Mapping[bytes, bytes]) -> Observed | None:
        """What is to be known of a request that begins; None for nothing."""
        return self._chooser.choose(headers, prediction=target.route in _PREDICTIONS)

    def reading(self, observed: Observed, headers: Mapping[bytes, bytes], identity: str, receive: Receive) -> Receive:
        """The channel, with a copy of the body for the log of payloads where that wants one."""
        payloads, record = self._chooser.payloads, observed.payload
        if payloads is None or record is None:
            return receive
        media = headers.get(b"content-type", b"application/json").decode("latin-1")
        if b"content-encoding" in headers:  # kept as it came, which is no JSON
            media = "application/octet-stream"
        return _copying(receive, payloads, record, media, identity)

    def ended(self, observed: Observed, scope: Scope, target: Target, identity: str, answer: Answer | None) -> None:
        """Tell of a request; ``answer`` is None where its client left before."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        status = answer.status if answer is not None else CLIENT_CLOSED_REQUEST
        code = answer.code if answer is not None else ErrorCode.CANCELLED.value
        ended = self._chooser.clock()
        if observed.logged and self._on_answer is not None:
            self._on_answer(
                AnswerRecord(
                    request_id=identity,
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    code=code,
                    seconds=ended - observed.began,
                    model=target.model,
                    trace_id=observed.times.trace_id or trace_id_of(headers),
                    client=scope["client"][0] if scope.get("client") else "",
                    version=scope.get("http_version", "1.1"),
                    bytes=0 if answer is None or answer.events is not None else answer.size,
                )
            )
        whole = answer is not None and answer.events is None  # what was streamed is not there any more
        if observed.payload is not None and self._chooser.payloads is not None and whole and answer and status == 200:
            body = b"".join((answer.body, *answer.parts)) if answer.parts else answer.body
            self._chooser.payloads.response(observed.payload, answer.content_type.decode("latin-1"), body)
        if observed.trace is not None and self._chooser.tracer is not None:
            attributes = _attributes(scope, headers, target, observed, identity, status, code)
            name = f"{scope['method']} {attributes['http.route']}"
            self._chooser.tracer.ended(
                observed.trace, name, observed.began, ended, observed.times, attributes, failed=status >= 500
            )


def _copying(receive: Receive, payloads: PayloadLog, record: PayloadRecord, media: str, identity: str) -> Receive:
    parts: list[bytes] = []
    told = False

    async def copied() -> MutableMapping[str, Any]:
        nonlocal told
        message = await receive()
        if message["type"] == "http.request" and not told:
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                told = True
                payloads.request(record, media, parts[0] if len(parts) == 1 else b"".join(parts), identity)
        return message

    return copied


def _attributes(
    scope: Scope,
    headers: Mapping[bytes, bytes],
    target: Target,
    observed: Observed,
    identity: str,
    status: int,
    code: str,
) -> dict[str, str | int | float | bool]:
    attributes: dict[str, str | int | float | bool] = {
        "http.request.method": scope["method"],
        "http.route": _VERSIONED if target.route is Route.INFER and target.version else target.route.value,
        "http.response.status_code": status,
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
        "pillion.request.id": identity,
        "pillion.model.name": observed.times.model or target.model,
    }
    if observed.times.version:
        attributes["pillion.model.version"] = observed.times.version
    if target.task:
        attributes["pillion.task"] = target.task
    if scope.get("client"):
        attributes["client.address"] = scope["client"][0]
    if scope.get("server"):
        attributes["server.address"], attributes["server.port"] = scope["server"]
    agent = headers.get(b"user-agent")
    if agent:
        attributes["user_agent.original"] = agent.decode("latin-1")
    if code:
        attributes["error.type"] = code
    return attributes
