"""Why the HTTP engine answers a request itself and closes: one sentence for each limit."""

from __future__ import annotations

import os
from http import HTTPStatus

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.transport.http.errors import HTTP_STATUS, error_body, retry_after

__all__ = [
    "Refusal",
    "answer",
    "body",
    "body_timeout",
    "connections",
    "header_bytes",
    "header_count",
    "header_timeout",
    "malformed",
    "stopped",
    "uri",
]


class Refusal(msgspec.Struct, frozen=True):
    """A request that never reaches the application."""

    limit: str
    """Value of the ``limit`` label of ``pillion_http_refused_total``."""
    error: PillionError


def answer(refusal: Refusal) -> bytes:
    """The whole HTTP response, in the error shape of every route, with ``Connection: close``."""
    status = HTTPStatus(HTTP_STATUS[refusal.error.code])
    identity = os.urandom(16).hex()
    content = error_body(refusal.error, identity)
    wait = retry_after(refusal.error)
    return b"".join(
        (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii"),
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(content),
            f"x-request-id: {identity}\r\n".encode("ascii"),
            b"" if wait is None else b"retry-after: %b\r\n" % wait,
            b"connection: close\r\n\r\n",
            content,
        )
    )


def body(limit: int) -> Refusal:
    """The body is larger than ``limit`` bytes."""
    return Refusal(
        "body",
        PillionError(
            ErrorCode.PAYLOAD_TOO_LARGE,
            f"the request body is larger than {limit} bytes",
            field="body",
            remedy="send less at a time, or raise limits.max_body_bytes",
        ),
    )


def header_bytes(limit: int) -> Refusal:
    """Request line and headers are larger than ``limit`` bytes."""
    return Refusal(
        "header_bytes",
        PillionError(
            ErrorCode.HEADERS_TOO_LARGE,
            f"the request headers are larger than {limit} bytes",
            field="headers",
            remedy="send fewer or shorter headers, or raise limits.max_header_bytes",
        ),
    )


def header_count(limit: int) -> Refusal:
    """More than ``limit`` header fields."""
    return Refusal(
        "header_count",
        PillionError(
            ErrorCode.HEADERS_TOO_LARGE,
            f"the request has more than {limit} header fields",
            field="headers",
            remedy="send fewer headers, or raise limits.max_header_count",
        ),
    )


def uri(limit: int) -> Refusal:
    """The request target is longer than ``limit`` bytes."""
    return Refusal(
        "uri",
        PillionError(
            ErrorCode.URI_TOO_LONG,
            f"the request target is longer than {limit} bytes",
            field="path",
            remedy="send data in the body, or raise limits.max_uri_bytes",
        ),
    )


def header_timeout(seconds: float) -> Refusal:
    """The headers did not arrive in time."""
    return Refusal(
        "header_timeout",
        PillionError(
            ErrorCode.REQUEST_TIMEOUT,
            f"the request headers did not arrive within {seconds:g} s",
            field="headers",
            remedy="send the headers at once, or raise limits.header_timeout_seconds",
        ),
    )


def body_timeout(seconds: float, rate: int) -> Refusal:
    """The body came in too slowly."""
    return Refusal(
        "body_timeout",
        PillionError(
            ErrorCode.REQUEST_TIMEOUT,
            f"the request body arrived more slowly than {seconds:g} s plus one second for each {rate} bytes",
            field="body",
            remedy="send the body faster, or raise limits.body_timeout_seconds",
        ),
    )


def malformed(why: str) -> Refusal:
    """Not HTTP/1.1 as RFC 9112 defines it, or ambiguous in a way that request smuggling uses."""
    return Refusal("malformed", PillionError(ErrorCode.INVALID_ARGUMENT, f"malformed HTTP request: {why}"))


def connections(limit: int) -> Refusal:
    """``limit`` connections are open already."""
    return Refusal(
        "connections",
        PillionError(
            ErrorCode.QUEUE_FULL,
            f"{limit} connections are open already",
            remedy="try again later, reuse connections, or raise limits.max_connections",
            retry_after=1.0,
        ),
    )


def stopped() -> Refusal:
    """The server stops and the time for requests in progress is over."""
    return Refusal(
        "stopped",
        PillionError(
            ErrorCode.DRAINING, "the server is stopping and could not finish this request in time", retry_after=1.0
        ),
    )
