"""What a call brings along: its request id and deadline; and how a failed one ends."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import time
from typing import TYPE_CHECKING, Any, Final, cast

from pillion.dataplane.call import Call, WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.transport.grpc.errors import GRPC_STATUS, trailing_metadata
from pillion.transport.grpc.options import GrpcOptions, RpcRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from grpc.aio import ServicerContext

    Context = ServicerContext[Any, Any]

__all__ = ["answered", "call_of", "failed", "failure_of", "given_request_id", "new_request_id", "succeeded"]

_log: Final = logging.getLogger("pillion.grpc")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_INTERNAL: Final = "Internal error; the server's log has it under this id"


_PROCESS: Final = os.urandom(8).hex()
_COUNT: Final = itertools.count()


def given_request_id(context: Context) -> str | None:
    """Metadata ``x-request-id`` where there is one that is safe to echo and log."""
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id" and isinstance(value, str) and _ID.fullmatch(value):
            return value
    return None


def new_request_id() -> str:
    """32 hexadecimal digits: a random half for the process and a counter."""
    return f"{_PROCESS}{next(_COUNT):016x}"


def call_of(context: Context, identity: str, clock: Callable[[], float]) -> Call:
    """The data plane's view of the call. The deadline is the client's; None leaves it to the model's settings."""
    # The stubs say float; grpcio gives None to a call without a deadline.
    remaining = cast("float | None", context.time_remaining())
    return Call(WireProtocol.GRPC, identity, None if remaining is None else clock() + remaining)


async def answered(
    method: str, context: Context, options: GrpcOptions, handle: Callable[[str], Awaitable[bytes]]
) -> bytes:
    """Run one unary call: its answer, or its failure as status, sentence and trailing metadata.

    A request id that the caller sent is echoed; one that was made here is told with failures only, because metadata
    behind an answer costs a tenth of a small call.

    Args:
        method: name, for the log.
        context: of the call.
        options: of the server.
        handle: makes the answer; gets the request id.
    """
    given = given_request_id(context)
    identity = given or new_request_id()
    started = time.monotonic() if options.on_answer is not None else 0.0
    try:
        answer = await handle(identity)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the boundary: every failure has a status
        return await failed(method, context, options, error, identity, started)
    succeeded(method, context, options, given, identity, started)
    return answer


async def failed(
    method: str, context: Context, options: GrpcOptions, error: BaseException, identity: str, started: float
) -> bytes:
    """End a call that failed: record it, and raise for grpc what the caller is to be told. Never returns."""
    failure = failure_of(error, identity)
    _record(method, identity, failure, started, options)
    if isinstance(error, asyncio.CancelledError):
        raise error
    return await context.abort(GRPC_STATUS[failure.code], str(failure), trailing_metadata(failure, identity))


def succeeded(
    method: str, context: Context, options: GrpcOptions, given: str | None, identity: str, started: float
) -> None:
    """Echo the request id that the caller sent, and record the call."""
    if given is not None:
        context.set_trailing_metadata((("x-request-id", given),))
    if options.on_answer is not None:
        _record(method, identity, None, started, options)


def failure_of(error: BaseException, identity: str) -> PillionError:
    """What the caller is told of an exception; an unexpected one goes to the log with its traceback."""
    if isinstance(error, PillionError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return PillionError(ErrorCode.CANCELLED, "The caller left")
    _log.error("unexpected failure", exc_info=error, extra={"request_id": identity})
    return PillionError(ErrorCode.INTERNAL, _INTERNAL)


def _record(method: str, identity: str, failure: PillionError | None, started: float, options: GrpcOptions) -> None:
    """Tell the access log, where there is one."""
    if options.on_answer is None:
        return
    status = "OK" if failure is None else GRPC_STATUS[failure.code].name
    code = "" if failure is None else failure.code.value
    options.on_answer(RpcRecord(identity, method, status, code, time.monotonic() - started))
