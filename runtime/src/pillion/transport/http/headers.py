"""Request headers that mean something to the inference routes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from pillion.dataplane.call import new_request_id
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ACCEPTED_MEDIA",
    "RARE_HEADERS",
    "SLOW_HEADERS",
    "check_content_type",
    "header_length",
    "priority",
    "request_id",
    "timeout_seconds",
]

_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_TIMEOUT: Final = b"x-request-timeout-seconds"
_PRIORITY: Final = b"x-request-priority"
_HEADER_LENGTH: Final = b"inference-header-content-length"
ACCEPTED_MEDIA: Final = frozenset({b"application/json", b"application/octet-stream", None})
"""What :func:`check_content_type` need not look at: the exact forms, and none at all."""
RARE_HEADERS: Final = frozenset({_TIMEOUT, _PRIORITY, _HEADER_LENGTH, b"content-encoding"})
"""Headers that most inference requests do not have."""
SLOW_HEADERS: Final = frozenset({_TIMEOUT, _PRIORITY, b"content-encoding"})
"""Those of them that keep a request from being answered in the turn that received it."""
_CHARSETS: Final = frozenset({b"utf-8", b"utf8", b"us-ascii"})


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """``X-Request-ID`` where it is safe to echo and log, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _ID.fullmatch(given):
        return given.decode()
    return new_request_id()


def timeout_seconds(headers: Mapping[bytes, bytes]) -> float | None:
    """``X-Request-Timeout-Seconds``: how long the caller is going to wait.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: not a positive number.
    """
    given = headers.get(_TIMEOUT)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            "X-Request-Timeout-Seconds: must be a positive number of seconds",
            field="X-Request-Timeout-Seconds",
        )
    return seconds


def priority(headers: Mapping[bytes, bytes]) -> int:
    """``X-Request-Priority``: 1 for the highest; 0 where there is none.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: not a whole number.
    """
    given = headers.get(_PRIORITY)
    if given is None:
        return 0
    if not given.isdigit() or len(given) > 9:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            "X-Request-Priority: must be a whole number, 1 for the highest priority",
            field="X-Request-Priority",
        )
    return int(given)


def header_length(headers: Mapping[bytes, bytes]) -> int | None:
    """``Inference-Header-Content-Length``: bytes of JSON in front of raw tensors; None where all is JSON.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: not a whole number.
    """
    given = headers.get(_HEADER_LENGTH)
    if given is None:
        return None
    if not given.isdigit() or len(given) > 18:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            "Inference-Header-Content-Length: must be a whole number of bytes",
            field="Inference-Header-Content-Length",
        )
    return int(given)


def check_content_type(value: bytes | None) -> None:
    """Accept JSON and, for raw tensors, octet streams. No content type at all is taken for JSON, as clients send it.

    Raises:
        PillionError: ``UNSUPPORTED_MEDIA_TYPE``; the text says how to send it.
    """
    if value is None or value in ACCEPTED_MEDIA:
        return
    media, _, parameters = value.lower().partition(b";")
    if media.strip() in ACCEPTED_MEDIA:
        name, _, charset = parameters.strip().partition(b"=")
        if name.strip() != b"charset" or charset.strip(b' "') in _CHARSETS:
            return
        raise _unsupported("JSON is sent as UTF-8", "leave the charset out")
    shown = media.strip().decode("ascii", "replace")[:100]
    raise _unsupported(f"Content-Type {shown!r} is not accepted here", "send application/json: use curl --json")


def _unsupported(message: str, remedy: str) -> PillionError:
    return PillionError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, message, field="Content-Type", remedy=remedy)
