"""What is said to requests that a server cannot even try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.errors import ErrorCode, PillionError
from pillion.model import ModelState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.model import ModelStatus

__all__ = ["RETRY_WHILE_LOADING", "cannot", "full", "not_ready", "stopped", "stopping", "unloaded"]

RETRY_WHILE_LOADING: Final = 2.0
_RETRY_WHILE_DRAINING: Final = 1.0
_RETRY_WHEN_FULL: Final = 1.0


def not_ready(status: ModelStatus) -> PillionError:
    """A model that is known and does not serve now."""
    subject = f"model {status.name!r} version {status.version!r}"
    if status.state is ModelState.LOADING:
        return PillionError(ErrorCode.NOT_READY, f"{subject} is still loading", retry_after=RETRY_WHILE_LOADING)
    reason = status.reason or status.state.value.lower()
    return PillionError(ErrorCode.NOT_READY, f"{subject} is not ready: {reason}")


def stopping() -> PillionError:
    """A server that takes no new work."""
    return PillionError(
        ErrorCode.DRAINING,
        "the server is stopping and takes no new requests",
        remedy="try again: another replica will answer",
        retry_after=_RETRY_WHILE_DRAINING,
    )


def stopped() -> PillionError:
    """A stream that the end of the server cuts."""
    return PillionError(
        ErrorCode.DRAINING,
        "the server is stopping and could not finish this stream in time",
        remedy="try again: another replica will answer",
        retry_after=_RETRY_WHILE_DRAINING,
    )


def cannot(model: str, what: str, others: Mapping[str, object]) -> PillionError:
    """A model that has no such method; ``others`` have."""
    can = f"{', '.join(others)} can" if others else "no model here can"
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"model {model!r} does not {what}; {can}", field="model")


def unloaded() -> PillionError:
    """A model that left while a request waited for it."""
    return PillionError(
        ErrorCode.NOT_READY, "the model was unloaded while the request was waiting", retry_after=RETRY_WHILE_LOADING
    )


def full(in_flight: int, limit: int) -> PillionError:
    """A server that has as many requests as it may."""
    return PillionError(
        ErrorCode.QUEUE_FULL,
        f"{in_flight} requests are in flight in this server, which is the limit (limits.max_in_flight {limit})",
        remedy="try again later",
        retry_after=_RETRY_WHEN_FULL,
    )
