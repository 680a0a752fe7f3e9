"""What a call brings along: its request id and deadline; and how a failed one ends."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
import msgspec

from pillion.dataplane.call import Call, WireProtocol, new_request_id
from pillion.errors import ErrorCode, PillionError
from pillion.transport.grpc.errors import GRPC_STATUS, trailing_metadata

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from grpc.aio import ServicerContext

    from pillion.transport.grpc.observation import RpcObserver
    from pillion.transport.observation import Observed

    Context = ServicerContext[Any, Any]

__all__ = [
    "Caller",
    "Method",
    "answered",
    "call_of",
    "failed",
    "failure_of",
    "given_id_and_priority",
    "given_request_id",
    "priority_of",
    "ranked_call_of",
    "succeeded",
]

_log: Final = logging.getLogger("pillion.grpc")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_INTERNAL: Final = "Internal error; the server's log has it under this id"


def given_request_id(context: Context) -> str | None:
    """Metadata ``x-request-id`` where there is one that is safe to echo and log."""
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id" and isinstance(value, str) and _ID.fullmatch(value):
            return value
    return None


def given_id_and_priority(context: Context) -> tuple[str | None, str | bytes | None]:
    """The same, and metadata ``x-request-priority`` as it was sent."""
    identity: str | None = None
    priority: str | bytes | None = None
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id":
            if isinstance(value, str) and _ID.fullmatch(value):
                identity = value
        elif key == "x-request-priority":
            priority = value
    return identity, priority


def priority_of(given: str | bytes) -> int:
    """What ``x-request-priority`` says: 1 for the highest.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: not a whole number.
    """
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 10:
        return int(given)
    raise PillionError(
        ErrorCode.INVALID_ARGUMENT,
        "x-request-priority: must be a whole number, 1 for the highest priority",
        field="x-request-priority",
    )


class Method(msgspec.Struct, frozen=True):
    """A method of a service."""

    service: str
    name: str
    prediction: bool = False
    """Whether it calls a model: only such calls are traced."""
    looks_up: bool = False
    """Whether its message names what it is about: then what is not there is NOT_FOUND, and not a missing method."""


class Caller(msgspec.Struct):
    """Who calls: the request's id, and what somebody wants to know of it."""

    request_id: str
    observed: Observed | None = None


def call_of(context: Context, caller: Caller, clock: Callable[[], float]) -> Call:
    """The data plane's view of the call. The deadline is the client's; None leaves it to the model's settings."""
    # The stubs say float; grpcio gives None to a call without a deadline.
    remaining = cast("float | None", context.time_remaining())
    deadline = None if remaining is None else clock() + remaining
    times = None if caller.observed is None else caller.observed.times
    return Call(WireProtocol.GRPC, caller.request_id, deadline, times, context.peer)


def ranked_call_of(context: Context, caller: Caller, clock: Callable[[], float]) -> Call:
    """The same with the priority that the metadata asks for.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: it is not a whole number.
    """
    call = call_of(context, caller, clock)
    _, asked = given_id_and_priority(context)
    if asked is not None:
        call.priority = priority_of(asked)
    return call


async def answered(
    method: Method, context: Context, observer: RpcObserver | None, handle: Callable[[Caller], Awaitable[bytes]]
) -> bytes:
    """Run one unary call: its answer, or its failure as status, sentence and trailing metadata.

    A request id that the caller sent is echoed; one that was made here is told with failures only, because metadata
    behind an answer costs a tenth of a small call.

    Args:
        method: which.
        context: of the call.
        observer: of the service, where anybody wants to know.
        handle: makes the answer.
    """
    given = given_request_id(context)
    observed = None if observer is None else observer.choose(context, prediction=method.prediction)
    caller = Caller(given or new_request_id(), observed)
    try:
        answer = await handle(caller)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the boundary: every failure has a status
        return await failed(method, context, observer, error, caller)
    succeeded(method, context, observer, given, caller)
    return answer


async def failed(
    method: Method, context: Context, observer: RpcObserver | None, error: BaseException, caller: Caller
) -> bytes:
    """End a call that failed: tell of it, and raise for grpc what the caller is to be told. Never returns."""
    failure = failure_of(error, caller.request_id)
    status = GRPC_STATUS[failure.code]
    if method.looks_up and failure.code is ErrorCode.NOT_FOUND:
        status = grpc.StatusCode.NOT_FOUND
    if observer is not None and caller.observed is not None:
        observer.ended(caller.observed, context, method.service, method.name, caller.request_id, failure, status)
    if isinstance(error, asyncio.CancelledError):
        raise error
    return await context.abort(status, str(failure), trailing_metadata(failure, caller.request_id))


def succeeded(
    method: Method, context: Context, observer: RpcObserver | None, given: str | None, caller: Caller
) -> None:
    """Echo the request id that the caller sent, and tell of the call."""
    if given is not None:
        context.set_trailing_metadata((("x-request-id", given),))
    if observer is not None and caller.observed is not None:
        observer.ended(caller.observed, context, method.service, method.name, caller.request_id, None)


def failure_of(error: BaseException, identity: str) -> PillionError:
    """What the caller is told of an exception; an unexpected one goes to the log with its traceback."""
    if isinstance(error, PillionError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return PillionError(ErrorCode.CANCELLED, "The caller left")
    _log.error("unexpected failure", exc_info=error, extra={"request_id": identity})
    return PillionError(ErrorCode.INTERNAL, _INTERNAL)
