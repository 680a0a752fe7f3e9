"""``grpc.health.v1``: the server's and each model's state, straight from the data plane.

Source: gRPC health checking protocol. Service names: empty for the server, ``inference.GRPCInferenceService``, and the
name of each model.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health_pb2

from pillion.dataplane.call import ModelState
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from grpc.aio import ServicerContext

    from pillion.dataplane.call import InferencePlane

    Context = ServicerContext[Any, Any]

__all__ = ["HEALTH_SERVICE", "Health"]

HEALTH_SERVICE: Final = "grpc.health.v1.Health"
_Response = health_pb2.HealthCheckResponse


class Health:
    """Check and Watch. While draining, the server and its service are not serving; models still say how they are."""

    def __init__(self, plane: InferencePlane, service: str, poll: float, draining: Callable[[], bool]) -> None:
        self._plane = plane
        self._whole = ("", service)
        self._poll = poll
        self._draining = draining

    async def check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """The state now; NOT_FOUND for a name that is none of ours."""
        status = self._status(request.service)
        if status == _Response.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"No service and no model is called {request.service!r}")
        return _response(status)

    async def watch(
        self, request: health_pb2.HealthCheckRequest, _: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The state now and after each change, until the client leaves. An unknown name may become known."""
        told: int | None = None
        while True:
            status = self._status(request.service)
            if status != told:
                told = status
                yield _response(status)
            await asyncio.sleep(self._poll)

    def _status(self, service: str) -> int:
        if service in self._whole:
            serving = self._plane.ready() and not self._draining()
        else:
            try:
                status = self._plane.status(service)
                serving = status.state is ModelState.READY or status.asleep
            except PillionError as error:
                if error.code is ErrorCode.UNKNOWN_MODEL:
                    return _Response.SERVICE_UNKNOWN
                raise
        return _Response.SERVING if serving else _Response.NOT_SERVING

    def handler(self) -> grpc.GenericRpcHandler:
        """The service's methods for a server."""
        return grpc.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self.check, health_pb2.HealthCheckRequest.FromString, _Response.SerializeToString
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self.watch, health_pb2.HealthCheckRequest.FromString, _Response.SerializeToString
                ),
            },
        )


def _response(status: int) -> health_pb2.HealthCheckResponse:
    response = _Response()
    response.status = status
    return response
