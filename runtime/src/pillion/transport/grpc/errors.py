"""The one table from domain errors to gRPC, and the metadata that goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GRPC_STATUS", "retry_metadata", "trailing_metadata"]

GRPC_STATUS: Final[Mapping[ErrorCode, grpc.StatusCode]] = {
    ErrorCode.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorCode.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorCode.NOT_FOUND: grpc.StatusCode.UNIMPLEMENTED,
    ErrorCode.UNKNOWN_MODEL: grpc.StatusCode.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED: grpc.StatusCode.UNIMPLEMENTED,
    ErrorCode.REQUEST_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorCode.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.PAYLOAD_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.URI_TOO_LONG: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.HEADERS_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.STORAGE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.CANCELLED: grpc.StatusCode.CANCELLED,
    ErrorCode.MODEL_FAILED: grpc.StatusCode.INTERNAL,
    ErrorCode.INTERNAL: grpc.StatusCode.INTERNAL,
    ErrorCode.UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    ErrorCode.NOT_READY: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.DRAINING: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def trailing_metadata(error: PillionError, request_id: str) -> tuple[tuple[str, str], ...]:
    """``code`` and ``x-request-id`` as in every error body, and when to try again (gRFC A6) where that makes sense."""
    return (*retry_metadata(error), ("x-request-id", request_id))


def retry_metadata(error: PillionError) -> tuple[tuple[str, str], ...]:
    """The same for a call that has no id yet."""
    metadata = (("code", error.code.value),)
    if error.retry_after is None:
        return metadata
    return (*metadata, ("grpc-retry-pushback-ms", str(max(1, round(error.retry_after * 1000)))))
