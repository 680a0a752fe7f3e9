"""The answer to a request that failed, in the shape that its route's clients know."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pillion.errors import ErrorCode, PillionError
from pillion.transport.body_budget import UNREAD
from pillion.transport.http.answer import Answer, error_answer, openai_error_answer, task_error_answer
from pillion.transport.http.routes import JOB_ROUTES, METHODS, OPENAI_ROUTES, TASK_ROUTES, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.transport.http.routes import Target

__all__ = ["error_shape", "failed"]

_log: Final = logging.getLogger("pillion.http")
_INTERNAL: Final = "Internal error; the server's log has it under this id"
_UNREAD: Final = frozenset({ErrorCode.PAYLOAD_TOO_LARGE, ErrorCode.UNSUPPORTED_MEDIA_TYPE})
"""Refused before the body was read: the connection cannot be used again."""


def failed(error: Exception, identity: str, target: Target) -> Answer:
    """The answer to a request that failed, whatever it was."""
    shape = error_shape(target.route)
    if not isinstance(error, PillionError):
        _log.error("unexpected failure", exc_info=error, extra={"request_id": identity})
        return shape(PillionError(ErrorCode.INTERNAL, _INTERNAL), identity)
    if error.code is ErrorCode.METHOD_NOT_ALLOWED:
        return shape(error, identity, headers=((b"allow", ", ".join(METHODS[target.route]).encode()),))
    if error.code in _UNREAD or error.field == UNREAD:
        return shape(error, identity, headers=((b"connection", b"close"),))
    return shape(error, identity)


def error_shape(route: Route) -> Callable[..., Answer]:
    """How errors of a route look."""
    if route in TASK_ROUTES or route in JOB_ROUTES:
        return task_error_answer
    return openai_error_answer if route in OPENAI_ROUTES else error_answer
