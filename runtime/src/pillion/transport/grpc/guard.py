"""The interceptor that asks for a key. Without a key the server has none, and calls cost what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from pillion.dataplane.call import WireProtocol
from pillion.errors import PillionError
from pillion.transport.authentication import AUTHORIZATION, KEY_HEADER
from pillion.transport.grpc.context import given_request_id, new_request_id
from pillion.transport.grpc.errors import GRPC_STATUS, trailing_metadata

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pillion.dataplane.call import InferencePlane
    from pillion.transport.authentication import ApiKey

    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]

__all__ = ["Guard"]

_OPEN_SERVICE: Final = "/grpc.health.v1.Health/"
_OPEN_METHODS: Final = frozenset({"ServerLive", "ServerReady", "ModelReady"})


class Guard(grpc.aio.ServerInterceptor):
    """Lets a call through that shows the key.

    Args:
        service: full name of the inference service, whose health methods stay open.
        key: the key.
        plane: counts the calls that do not show it.
    """

    def __init__(self, service: str, key: ApiKey, plane: InferencePlane) -> None:
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
        shown = dict(handler_call_details.invocation_metadata)
        try:
            self._key.check(_bytes(shown.get(AUTHORIZATION)), _bytes(shown.get(KEY_HEADER)))
        except PillionError as error:
            return _refusing(handler, error, self._plane)
        return handler


def _refusing(handler: Handler, error: PillionError, plane: InferencePlane) -> Handler:
    """A handler of the same shape: the client waits for answers of the kind that it called for."""

    async def refuse(_: object, context: Context) -> None:
        plane.refused(error, WireProtocol.GRPC, "")
        identity = given_request_id(context) or new_request_id()
        await context.abort(GRPC_STATUS[error.code], str(error), trailing_metadata(error, identity))

    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return make(refuse)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
