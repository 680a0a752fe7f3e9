"""What can go wrong with a call, by what the caller can do about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LOST",
    "CallError",
    "ClientError",
    "Conflict",
    "ConnectionLost",
    "DeadlineExceeded",
    "Forbidden",
    "InvalidInput",
    "NeverSent",
    "NotFound",
    "Overloaded",
    "TooLarge",
    "Unavailable",
    "Untrusted",
    "error_of",
    "error_of_event",
]


class ClientError(Exception):
    """Any failure of a call."""


class NeverSent(ClientError):  # noqa: N818 - the name says what is known
    """No connection: nothing of the request has reached the server, so that sending it again is safe."""


class Untrusted(NeverSent):
    """The server's certificate was signed by nobody who is believed, or is for another name: give ``tls=TLS(ca=...)``.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot connect to {url}: {reason}: name the CA: tls=TLS(ca=...)")
        self.url = url
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.url, self.reason)


class ConnectionLost(ClientError):  # noqa: N818 - as above
    """The connection ended before the answer. Whether the server did the work is not known."""


class CallError(ClientError):
    """The server answered with an error.

    Args:
        status: HTTP status; over gRPC the one that corresponds.
        message: the server's sentence.
        code: the kind of error; on task routes the status again.
        id: of the request, as in the server's log.
        fields: paths of the fields that are wrong, dotted, each with what is wrong with it; where the server tells.
        retry_after: seconds after which the server asks to try again; None where it does not say.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str = "",
        id: str = "",  # noqa: A002 - the name in the body
        *,
        fields: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.id = id
        self.fields = dict(fields or {})
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, self.message, self.code, self.id), self.__dict__


class InvalidInput(CallError):  # noqa: N818 - as above
    """400, 415 or 422: the request is wrong; ``fields`` says where."""


class Forbidden(CallError):  # noqa: N818 - as above
    """401 or 403: a key is missing, or does not allow it. 407: a proxy wants a login."""


class NotFound(CallError):  # noqa: N818 - as above
    """404: no such model, version, task or job."""


class Conflict(CallError):  # noqa: N818 - as above
    """409: not in this state, as the result of a job that has not ended."""


class TooLarge(CallError):  # noqa: N818 - as above
    """413: over a limit, which the sentence names."""


class Overloaded(CallError):  # noqa: N818 - as above
    """429: the queue is full; ``retry_after`` says when to come again."""


class Unavailable(CallError):  # noqa: N818 - as above
    """502 or 503: loading, draining, or not there."""


class DeadlineExceeded(CallError):  # noqa: N818 - as above
    """504, or the time of the call was up here, in which case ``id`` is empty."""


LOST: Final = (NeverSent, ConnectionLost, Unavailable, DeadlineExceeded)
"""Failures by which a server is away, and a job of it is not over."""
_KINDS: Final[Mapping[int, type[CallError]]] = {
    400: InvalidInput,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    407: Forbidden,
    409: Conflict,
    413: TooLarge,
    415: InvalidInput,
    422: InvalidInput,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> CallError:
    """The error that an answer is: of any of the server's shapes, or of a proxy before it.

    Args:
        status: of HTTP.
        headers: by name in lower case.
        body: as it came.
    """
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    given: dict[str, Any] = said if isinstance(said, dict) else {}
    message = given.get("details") or given.get("error") or body[:500].decode(errors="replace") or f"HTTP {status}"
    if isinstance(message, dict):  # OpenAI's shape
        message = message.get("message", "")
    identity = str(given.get("id") or headers.get("x-request-id", ""))
    fields = _fields(given.get("additional_info"))
    after = _seconds(headers.get("retry-after"))
    kind = _KINDS.get(status, CallError)
    return kind(status, str(message), str(given.get("code", "")), identity, fields=fields, retry_after=after)


def error_of_event(said: Mapping[str, Any]) -> CallError:
    """The error that ends a stream."""
    code = said.get("code")
    status = code if isinstance(code, int) else 500
    return error_of(status, {}, json.dumps(said).encode())


def _fields(told: object) -> dict[str, str]:
    if not isinstance(told, list):
        return {}
    return {
        ".".join(map(str, item.get("loc", ()))): str(item.get("msg", "")) for item in told if isinstance(item, dict)
    }


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
