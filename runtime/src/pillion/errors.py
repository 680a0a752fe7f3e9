"""What can go wrong, in one vocabulary.

Every layer raises :class:`PillionError` with one :class:`ErrorCode`. Each transport owns one exhaustive table from
these codes to its own (HTTP status, gRPC status); nothing else in the code base translates errors. No web framework
is imported here.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ErrorCode", "InvalidArguments", "ModelRefused", "PillionError"]


@unique
class ErrorCode(StrEnum):
    """The domain's error codes. The value is the stable text used as the ``code`` label of metrics and in logs."""

    INVALID_ARGUMENT = "invalid_argument"
    """The request is wrong in a way the caller can mend: shape, datatype, name, JSON, parameter."""
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    """The call is understood and switched off or not allowed; the message names the setting."""
    NOT_FOUND = "not_found"
    """No such route."""
    UNKNOWN_MODEL = "unknown_model"
    """No such model, or no such version of it."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    """The client did not send its headers or body in time."""
    CONFLICT = "conflict"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    URI_TOO_LONG = "uri_too_long"
    HEADERS_TOO_LARGE = "headers_too_large"
    STORAGE_FULL = "storage_full"
    """The disk has no room for what was sent."""
    QUEUE_FULL = "queue_full"
    """The model's queue is at its limit; retry after ``retry_after`` seconds."""
    CANCELLED = "cancelled"
    """The caller went away. Seen in logs and metrics only: there is nobody to answer."""
    MODEL_FAILED = "model_failed"
    """The model's own code raised."""
    INTERNAL = "internal"
    UNIMPLEMENTED = "unimplemented"
    NOT_READY = "not_ready"
    """The model is known and not loaded yet, or failed to load; the message says which."""
    DRAINING = "draining"
    """The server is stopping and takes no new work."""
    DEADLINE_EXCEEDED = "deadline_exceeded"


_LONGEST: Final = 2000
"""Characters of a sentence."""


class PillionError(Exception):
    """An error with a code, the place it is about and the way out.

    Args:
        code: what kind of failure it is; decides the status on every transport.
        message: what is wrong, in one sentence a user can act on. Never holds a secret.
        field: where: path of the offending field (``inputs[0].shape``), header or setting.
        remedy: what to do about it, where the message alone does not say it.
        retry_after: seconds after which trying again makes sense; only for ``QUEUE_FULL``, ``NOT_READY`` and
            ``DRAINING``.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        field: str | None = None,
        remedy: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.remedy = remedy
        self.retry_after = retry_after

    def __str__(self) -> str:
        """Message and remedy as one line, as every transport shows it: names in it are the caller's to choose."""
        text = f"{self.message} ({self.remedy})" if self.remedy else self.message
        return text if text.isprintable() and len(text) <= _LONGEST else _line(text)


def _line(text: str) -> str:
    """The text escaped where it could not be printed, and cut."""
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:_LONGEST])
    return shown if len(text) <= _LONGEST else f"{shown}..."


class InvalidArguments(PillionError):  # noqa: N818 - PillionError is what it is; this names which
    """Arguments that do not fit a signature.

    Args:
        message: what is wrong, each sentence begun by the field's path.
        field: path of the first.
        problems: each with its ``loc`` (path as a list), ``msg`` and ``type``.
    """

    def __init__(self, message: str, *, field: str | None, problems: Sequence[Mapping[str, object]]) -> None:
        super().__init__(ErrorCode.INVALID_ARGUMENT, message, field=field)
        self.problems = tuple(problems)


class ModelRefused(PillionError):  # noqa: N818 - as above
    """A model that cannot be loaded.

    Args:
        message: why, in one sentence.
        reason: the load's own words for it.
        cause: one word for it, for programs; empty where there is none.
    """

    def __init__(self, message: str, *, reason: str, cause: str) -> None:
        super().__init__(ErrorCode.INVALID_ARGUMENT, message)
        self.reason = reason
        self.cause = cause
