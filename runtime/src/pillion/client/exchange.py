"""Requests, answers, and operations: what is said to a server, without saying it.

An operation is a generator. It yields what is to be done, :class:`Send` or :class:`Sleep`, takes the answer, and
returns its result. :mod:`pillion.client.sync` and :mod:`pillion.client.aio` each have one loop that drives any of them,
so that nothing about a call is written twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from pillion.client.errors import ClientError, DeadlineExceeded

if TYPE_CHECKING:
    from pillion.authoring.file import File
    from pillion.client.retries import Retries
    from pillion.client.uploads import Upload

__all__ = ["Answer", "Effect", "GrpcCall", "Operation", "Part", "Request", "Send", "Sleep", "exchange", "posted"]

T = TypeVar("T")
_DEADLINE: Final = "x-request-timeout-seconds"


@dataclass(frozen=True, slots=True)
class Part:
    """Of a form: a file, or bytes with their media type."""

    name: str
    content: File | bytes
    filename: str | None
    media_type: str


@dataclass(frozen=True, slots=True)
class Request:
    """Over HTTP.

    Attributes:
        path: below the server's URL, encoded.
        content: pieces of the body, sent one after the other without being joined before.
        form: of a form instead.
        idempotent: whether doing it twice is the same as doing it once.
        streams: whether the answer is read by who asked, as it comes.
        silence: of a stream, seconds without a sign of life from the server; None: the call's.
        upload: where the time of the call is that of the answer, and not of the sending.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    content: tuple[bytes | memoryview, ...] = ()
    form: tuple[Part, ...] = ()
    idempotent: bool = False
    streams: bool = False
    silence: float | None = None
    upload: Upload | None = None


@dataclass(frozen=True, slots=True)
class GrpcCall:
    """Over gRPC.

    Attributes:
        method: of the service.
        message: the protobuf message; of an upload what gives them, from the beginning each time.
        answer: the class of the answer.
        headers: beside those of the client.
        service: by default that of the Open Inference Protocol.
        uploads: whether several messages are sent.
        collects: whether several are answered, which are waited for.
        streams: whether they are read by who asked, as they come.
        upload: as of a :class:`Request`.
    """

    method: str
    message: Any
    answer: Any
    idempotent: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    service: str = "inference.GRPCInferenceService"
    uploads: bool = False
    collects: bool = False
    streams: bool = False
    upload: Upload | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A success; failures are raised.

    Attributes:
        headers: by name in lower case.
        body: whole; empty where the answer streams.
        live: what the transport reads a stream from, or gRPC's message or messages.
    """

    headers: Mapping[str, str]
    body: bytes = b""
    live: Any = None

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The body as JSON.

        Raises:
            ClientError: it is none, as when the URL is that of something else.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise ClientError(
                f"the answer is no JSON: is this a Pillion server? It begins {self.body[:80]!r}"
            ) from None


@dataclass(frozen=True, slots=True)
class Send:
    """Send this, and give an :class:`Answer` within ``timeout`` seconds, or raise a :class:`ClientError`."""

    request: Request | GrpcCall
    timeout: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for so many seconds."""

    seconds: float


Effect: TypeAlias = Send | Sleep
Operation: TypeAlias = Generator[Effect, Any, T]


def exchange(request: Request | GrpcCall, retries: Retries, timeout: float) -> Operation[Answer]:
    """Send a request, again where that is safe, within ``timeout`` seconds.

    Raises:
        ClientError: the last failure.
    """
    ends = time.monotonic() + timeout
    made = 0
    while True:
        remaining = ends - time.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded(504, f"the time of the call, {timeout:g} s, was up before it was sent")
        try:
            answer: Answer = yield Send(_with_deadline(request, remaining), remaining)
            return answer
        except ClientError as failure:
            made += 1
            wait = retries.wait(failure, made, idempotent=request.idempotent)
            if wait is None or time.monotonic() + wait >= ends:
                raise
        yield Sleep(wait)


def posted(path: str, body: object, *, idempotent: bool = False) -> Request:
    """A request with JSON."""
    from pillion.client.values import encoded  # noqa: PLC0415 - pydantic's encoder, only where something is encoded

    headers = {"content-type": "application/json"}
    return Request("POST", path, headers=headers, content=(encoded(body),), idempotent=idempotent)


def _with_deadline(request: Request | GrpcCall, seconds: float) -> Request | GrpcCall:
    # A stream's time is that between its items, and an upload's begins when it has been sent: neither is the server's.
    if isinstance(request, GrpcCall) or request.streams or request.upload is not None:
        return request
    return replace(request, headers={**request.headers, _DEADLINE: f"{seconds:.3f}"})
