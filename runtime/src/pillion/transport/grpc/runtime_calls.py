"""Methods of the services of ``pillion.runtime``: messages in and out, around functions that mean something."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from pillion.dataplane.call import new_request_id
from pillion.errors import ErrorCode, PillionError
from pillion.transport.grpc.context import (
    Caller,
    Method,
    answered,
    failed,
    given_request_id,
    succeeded,
)
from pillion.transport.grpc.ends import until_true_end
from pillion.transport.grpc.managed import admitted, let_in, shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from grpc.aio import ServicerContext

    from pillion.management.audit import Who
    from pillion.transport.authentication import Callers
    from pillion.transport.grpc.observation import RpcObserver
    from pillion.transport.management_access import ManagementAccess

    Context = ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]

__all__ = ["Rpc", "RuntimeCalls", "filled"]

_Request = TypeVar("_Request", bound=Message)
_Answer = TypeVar("_Answer", bound=Message)


class Rpc(msgspec.Struct):
    """One call."""

    context: Any
    request_id: str
    access: ManagementAccess
    callers: Callers | None

    def metadata(self) -> Mapping[str, bytes]:
        """What came beside the message."""
        return shown(self.context)

    def let_in(self, what: str) -> None:
        """Go on for those who may manage; ``what`` begins the sentence for the others.

        Raises:
            PillionError: ``PERMISSION_DENIED``, ``UNAUTHENTICATED``.
        """
        let_in(self.access, self.context, what)

    def admitted(self, action: str, model: str, what: str) -> Who:
        """The same for a change, which the log is told of: who asks for it.

        Raises:
            PillionError: as :meth:`let_in`.
        """
        return admitted(self.access, action, model, self.context, self.request_id, what)


class RuntimeCalls:
    """The methods of one service.

    Args:
        service: its full name.
        access: who may manage.
        observer: where anybody wants to know of calls.
        callers: who may call, and what they are called; None where everybody may.
    """

    def __init__(
        self, service: str, access: ManagementAccess, observer: RpcObserver | None, callers: Callers | None
    ) -> None:
        self._service = service
        self._access = access
        self._observer = observer
        self._callers = callers
        self._handlers: dict[str, Handler] = {}

    def unary(
        self, name: str, request_type: type[_Request], answer: Callable[[_Request, Rpc], Awaitable[Message]]
    ) -> None:
        """A method with one message each way."""

        async def method(message: bytes, context: Context) -> bytes:
            async def handle(caller: Caller) -> bytes:
                rpc = Rpc(context, caller.request_id, self._access, self._callers)
                return (await answer(_parsed(request_type, message), rpc)).SerializeToString()

            return await answered(self._method(name), context, self._observer, handle)

        self._handlers[name] = grpc.unary_unary_rpc_method_handler(method)

    def stream(
        self, name: str, request_type: type[_Request], answers: Callable[[_Request, Rpc], AsyncGenerator[Message]]
    ) -> None:
        """A method with several answers."""

        async def method(message: bytes, context: Context) -> AsyncIterator[bytes]:
            given, caller = self._caller(context)
            rpc = Rpc(context, caller.request_id, self._access, self._callers)
            try:
                async with contextlib.aclosing(answers(_parsed(request_type, message), rpc)) as found:
                    async for one in found:
                        yield one.SerializeToString()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the boundary: every failure has a status
                await failed(self._method(name), context, self._observer, error, caller)
            succeeded(self._method(name), context, self._observer, given, caller)

        self._handlers[name] = grpc.unary_stream_rpc_method_handler(method)

    def upload(
        self,
        name: str,
        request_type: type[_Request],
        answer: Callable[[AsyncGenerator[tuple[_Request, int]], Rpc], Awaitable[Message]],
    ) -> None:
        """A method with several messages, each given with its size."""

        async def method(messages: AsyncIterator[bytes], context: Context) -> bytes:
            async def parsed() -> AsyncGenerator[tuple[_Request, int]]:
                async for message in until_true_end(messages, context):
                    yield _parsed(request_type, message), len(message)

            async def handle(caller: Caller) -> bytes:
                rpc = Rpc(context, caller.request_id, self._access, self._callers)
                async with contextlib.aclosing(parsed()) as found:
                    return (await answer(found, rpc)).SerializeToString()

            return await answered(self._method(name), context, self._observer, handle)

        self._handlers[name] = grpc.stream_unary_rpc_method_handler(method)

    def handler(self) -> grpc.GenericRpcHandler:
        """All of them."""
        return grpc.method_handlers_generic_handler(self._service, self._handlers)

    def _method(self, name: str) -> Method:
        return Method(self._service, name, looks_up=True)

    def _caller(self, context: Context) -> tuple[str | None, Caller]:
        given = given_request_id(context)
        observed = None if self._observer is None else self._observer.choose(context, prediction=False)
        return given, Caller(given or new_request_id(), observed)


def filled(document: dict[str, Any], message: _Answer) -> _Answer:
    """A message with the content of a JSON document that has the same names."""
    return json_format.ParseDict(document, message)


def _parsed(request_type: type[_Request], message: bytes) -> _Request:
    try:
        return request_type.FromString(message)
    except DecodeError as error:
        text = f"the message is not a valid {request_type.__name__}"
        raise PillionError(ErrorCode.INVALID_ARGUMENT, text) from error
