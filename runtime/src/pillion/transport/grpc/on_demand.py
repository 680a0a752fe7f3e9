"""gRPC services whose code, and protobuf with it, is imported when it is first needed: every start would pay for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["OnDemand"]


class OnDemand(grpc.GenericRpcHandler):
    """Handlers made at the first call of a method below a path.

    Args:
        path: how the methods begin, for example ``/grpc.reflection.``.
        make: gives the handlers.
    """

    def __init__(self, path: str, make: Callable[[], Sequence[grpc.GenericRpcHandler]]) -> None:
        self._path = path
        self._make = make
        self._handlers: Sequence[grpc.GenericRpcHandler] | None = None

    def made(self) -> Sequence[grpc.GenericRpcHandler]:
        """The handlers, made now if they have not been yet."""
        if self._handlers is None:
            self._handlers = self._make()
        return self._handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's handler; None for a method that is none of ours."""
        if not handler_call_details.method.startswith(self._path):
            return None
        for handlers in self.made():
            found = handlers.service(handler_call_details)
            if found is not None:
                return found
        return None
