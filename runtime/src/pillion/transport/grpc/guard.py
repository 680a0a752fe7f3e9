"""The interceptor that asks for a key. Without a key the server has none, and calls cost what they did."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from pillion.dataplane.call import WireProtocol, new_request_id
from pillion.errors import PillionError
from pillion.transport.authentication import AUTHORIZATION, KEY_HEADER
from pillion.transport.grpc.context import given_request_id
from pillion.transport.grpc.errors import GRPC_STATUS, trailing_metadata
from pillion.transport.reviewed_tokens import ReviewNeeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from pillion.dataplane.call import InferencePlane
    from pillion.transport.authentication import Callers

    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]

__all__ = ["Guard"]

_OPEN_SERVICE: Final = "/grpc.health.v1.Health/"
_OPEN_METHODS: Final = frozenset({"ServerLive", "ServerReady", "ModelReady"})


class Guard(grpc.aio.ServerInterceptor):
    """Lets a call through that shows the key.

    Args:
        service: full name of the inference service, whose health methods stay open.
        key: says who may call.
        plane: counts the calls that do not show it.
    """

    def __init__(self, service: str, key: Callers, plane: InferencePlane) -> None:
        self._open = frozenset(f"/{service}/{method}" for method in _OPEN_METHODS)
        self._key = key
        self._plane = plane

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Give the method's own handler, or one that refuses."""
        handler = await continuation(handler_call_details)
        return None if handler is None else self.guarded(handler, handler_call_details)

    def guarded(self, handler: Handler, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """The handler itself where the key is shown or not needed, else one that refuses."""
        method: str = handler_call_details.method
        if method in self._open or method.startswith(_OPEN_SERVICE):
            return handler
        metadata = dict(handler_call_details.invocation_metadata)
        shown = _bytes(metadata.get(AUTHORIZATION)), _bytes(metadata.get(KEY_HEADER))
        try:
            self._key.check(*shown)
        except ReviewNeeded:
            return _reviewing(handler, partial(self._key.admit, *shown), self._plane)
        except PillionError as error:
            return _refusing(handler, error, self._plane)
        return handler


def _refusing(handler: Handler, error: PillionError, plane: InferencePlane) -> Handler:
    """A handler of the same shape: the client waits for answers of the kind that it called for."""

    async def refuse(_: object, context: Context) -> None:
        await _abort(error, context, plane)

    async def refuse_stream(_: object, context: Context) -> AsyncIterator[object]:
        await _abort(error, context, plane)
        yield None  # never reached: it is a stream by its shape

    return _shape(handler)(refuse_stream if handler.response_streaming else refuse)


def _reviewing(handler: Handler, admit: Callable[[], Awaitable[None]], plane: InferencePlane) -> Handler:
    """A handler of the same shape that waits for the verdict, and then is the handler itself or refuses."""
    method: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

    async def require(context: Context) -> None:
        try:
            await admit()
        except PillionError as error:
            await _abort(error, context, plane)

    async def decide(request: object, context: Context) -> object:
        await require(context)
        return await method(request, context)

    async def decide_stream(request: object, context: Context) -> AsyncIterator[object]:
        await require(context)
        # Closed with this one, as whoever runs a method closes it: what the method holds is let go now.
        async with contextlib.aclosing(method(request, context)) as answers:
            async for item in answers:
                yield item

    return _shape(handler)(
        decide_stream if handler.response_streaming else decide,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


async def _abort(error: PillionError, context: Context, plane: InferencePlane) -> None:
    plane.refused(error, WireProtocol.GRPC, "")
    identity = given_request_id(context) or new_request_id()
    await context.abort(GRPC_STATUS[error.code], str(error), trailing_metadata(error, identity))


def _shape(handler: Handler) -> Callable[..., Handler]:
    """What makes a handler that takes and gives messages as this one does."""
    makers: dict[tuple[bool, bool], Callable[..., Handler]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return makers[handler.request_streaming, handler.response_streaming]


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
