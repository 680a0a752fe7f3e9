"""The one table from domain errors to HTTP, and the body every error of the inference routes has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import orjson

from pillion.errors import ErrorCode, InvalidArguments, PillionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLIENT_CLOSED_REQUEST",
    "HTTP_STATUS",
    "error_body",
    "openai_error_body",
    "retry_after",
    "task_error_body",
    "task_status",
]

CLIENT_CLOSED_REQUEST: Final = 499
"""Seen in logs and metrics only."""

HTTP_STATUS: Final[Mapping[ErrorCode, int]] = {
    ErrorCode.INVALID_ARGUMENT: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.UNKNOWN_MODEL: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.REQUEST_TIMEOUT: 408,
    ErrorCode.CONFLICT: 409,
    ErrorCode.PAYLOAD_TOO_LARGE: 413,
    ErrorCode.URI_TOO_LONG: 414,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.QUEUE_FULL: 429,
    ErrorCode.HEADERS_TOO_LARGE: 431,
    ErrorCode.CANCELLED: CLIENT_CLOSED_REQUEST,
    ErrorCode.MODEL_FAILED: 500,
    ErrorCode.INTERNAL: 500,
    ErrorCode.UNIMPLEMENTED: 501,
    ErrorCode.NOT_READY: 503,
    ErrorCode.DRAINING: 503,
    ErrorCode.DEADLINE_EXCEEDED: 504,
    ErrorCode.STORAGE_FULL: 507,
}

_DEFAULT_RETRY: Final = frozenset({ErrorCode.QUEUE_FULL, ErrorCode.NOT_READY, ErrorCode.DRAINING})


def error_body(error: PillionError, request_id: str) -> bytes:
    """``{"error", "code", "id"}``: the protocol's shape, with code and request id under the names used everywhere."""
    return orjson.dumps({"error": str(error), "code": error.code.value, "id": request_id})


def task_status(error: PillionError) -> int:
    """The status on task routes: that of the table; 422 for arguments that do not fit, as clients of caikit expect."""
    return 422 if isinstance(error, InvalidArguments) else HTTP_STATUS[error.code]


def task_error_body(error: PillionError, request_id: str) -> bytes:
    """``{"details", "code", "id"}``, ``code`` being the status; ``additional_info`` has each field that is wrong."""
    body: dict[str, object] = {"details": str(error), "code": task_status(error), "id": request_id}
    if isinstance(error, InvalidArguments):
        body["additional_info"] = list(error.problems)
    return orjson.dumps(body)


_OPENAI_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
"""``error.type`` by status; others are ``invalid_request_error`` below 500 and ``server_error`` from there on."""


def openai_error_body(error: PillionError, request_id: str) -> bytes:
    """``{"error": {"message", "type", "param", "code"}}`` as OpenAI's clients read it; ``code`` and ``id`` as ever."""
    status = HTTP_STATUS[error.code]
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    # The one code that clients of theirs compare with.
    code = "model_not_found" if error.code is ErrorCode.UNKNOWN_MODEL else error.code.value
    # "inputs" is what the data plane calls all that a model was given; here no field is called so.
    param = None if error.field == "inputs" else error.field
    inner = {"message": str(error), "type": kind, "param": param, "code": code}
    return orjson.dumps({"error": inner, "code": error.code.value, "id": request_id})


def retry_after(error: PillionError) -> bytes | None:
    """Value of ``Retry-After`` in whole seconds, at least 1; None where trying again makes no sense."""
    if error.retry_after is not None:
        return b"%d" % max(1, math.ceil(error.retry_after))
    return b"1" if error.code in _DEFAULT_RETRY else None
