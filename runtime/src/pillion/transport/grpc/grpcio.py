"""The gRPC engine of grpcio: grpc.aio over gRPC's C core."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from pillion.transport.grpc.engine import GrpcTls, UnixPlace
    from pillion.transport.grpc.guard import Guard
    from pillion.transport.grpc.limits import GrpcLimits

__all__ = ["GrpcioEngine"]

_NO_END: Final = 1e9
"""Seconds. grpc.aio frees its server when a stop is through, and a stop whose grace has just run out then ends the
calls of a server that is gone: the process dies. So no stop of ours ever runs out of grace; the time is kept here."""


class GrpcioEngine:
    """See :class:`pillion.transport.grpc.engine.GrpcEngine`.

    Args:
        limits: of messages, calls and connections.
    """

    def __init__(self, limits: GrpcLimits) -> None:
        self._limits = limits
        self._server: grpc.aio.Server | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._cutting: asyncio.Task[None] | None = None

    async def start(
        self,
        address: str,
        tls: GrpcTls | None,
        handlers: Sequence[grpc.GenericRpcHandler],
        guard: Guard | None,
        unix: UnixPlace | None = None,
    ) -> int:
        """See :meth:`pillion.transport.grpc.engine.GrpcEngine.start`. grpc does not say why it cannot bind."""
        server = grpc.aio.server(
            # None without a key: an interceptor that does nothing costs each call a step of the event loop.
            interceptors=[] if guard is None else [guard],
            options=self._limits.channel_arguments(),
            maximum_concurrent_rpcs=self._limits.max_concurrent_rpcs,
        )
        server.add_generic_rpc_handlers(tuple(handlers))
        try:
            port: int
            if tls is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, tls.credentials)
        except RuntimeError as error:
            raise OSError(
                errno.EADDRINUSE, f"gRPC cannot listen on {address}: in use, or not an address of this machine"
            ) from error
        if unix is not None:
            unix.bound_by(lambda path: server.add_insecure_port(f"unix:{path}"))
        await server.start()
        self._server = server
        return port

    async def swap(self, context: ssl.SSLContext) -> None:
        """Nothing: the credentials look up the material at each handshake."""

    async def stop(self, grace: float) -> None:
        """See :meth:`pillion.transport.grpc.engine.GrpcEngine.stop`."""
        server = self._server
        if server is None:
            return
        if self._stopping is None:
            self._stopping = asyncio.create_task(server.stop(_NO_END))
        await asyncio.wait({self._stopping}, timeout=grace)
        if not self._stopping.done():
            # With None grpc ends the calls before it waits for anything, while the server is surely still there.
            if self._cutting is None:
                self._cutting = asyncio.create_task(server.stop(None))
            await asyncio.wait({self._stopping, self._cutting})
