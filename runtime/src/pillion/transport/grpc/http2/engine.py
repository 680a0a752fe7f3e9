"""The gRPC engine on asyncio: listens, and keeps the clocks of its connections."""

from __future__ import annotations

import asyncio
import errno
import random
from typing import TYPE_CHECKING, Final

from pillion.transport.grpc.http2.connection import Connection
from pillion.transport.grpc.http2.limits import ConnectionLimits
from pillion.transport.grpc.http2.service import Service

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Sequence

    import grpc

    from pillion.transport.grpc.engine import GrpcTls
    from pillion.transport.grpc.guard import Guard
    from pillion.transport.grpc.limits import GrpcLimits

__all__ = ["AsyncioEngine"]

_SWEEP: Final = 0.25
_POLL: Final = 0.01
_TO_LEAVE: Final = 1.0
"""Seconds for the last bytes to leave once every call has ended."""


class AsyncioEngine:
    """See :class:`pillion.transport.grpc.engine.GrpcEngine`.

    Args:
        limits: bounds of connections and of the server.
    """

    def __init__(self, limits: GrpcLimits) -> None:
        self._limits = limits
        self._of_connections = _limits_of(limits)
        self._service: Service | None = None
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._until: float | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def start(
        self, address: str, tls: GrpcTls | None, handlers: Sequence[grpc.GenericRpcHandler], guard: Guard | None
    ) -> int:
        """See :meth:`pillion.transport.grpc.engine.GrpcEngine.start`."""
        self._service = Service(handlers, guard, self._limits.max_connections, self._limits.max_concurrent_rpcs)
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            # Bound by a server that never accepts, so that those that do can be exchanged (see swap).
            bound = await loop.create_server(
                asyncio.Protocol,
                host.strip("[]"),
                int(port),
                reuse_port=self._limits.shared_port or None,
                start_serving=False,
            )
        except OSError as error:
            raise OSError(
                error.errno or errno.EADDRINUSE,
                f"gRPC cannot listen on {address}: in use, or not an address of this machine",
            ) from error
        self._socket = bound.sockets[0].dup()
        bound.close()
        self._server = await self._accept(None if tls is None else tls.context)
        self._clock = loop.call_later(_SWEEP, self._sweep)
        number: int = self._socket.getsockname()[1]
        return number

    async def swap(self, context: ssl.SSLContext) -> None:
        """As the HTTP port does it: a second acceptor on the same socket, before the first is closed."""
        previous = self._server
        if previous is not None:
            self._server = await self._accept(context)
            previous.close()

    async def stop(self, grace: float) -> None:
        """See :meth:`pillion.transport.grpc.engine.GrpcEngine.stop`."""
        if self._service is None:
            return
        until = asyncio.get_running_loop().time() + grace
        self._until = until if self._until is None else min(self._until, until)
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(self._service))
        await asyncio.shield(self._stopping)

    async def _stop(self, service: Service) -> None:
        loop = asyncio.get_running_loop()
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            self._socket.close()
        for connection in list(service.connections):
            connection.leave()
        while service.connections and loop.time() < (self._until or 0.0):  # noqa: ASYNC110 - a set: nothing to wait for
            await asyncio.sleep(_POLL)
        for connection in list(service.connections):
            connection.cut()
        due = loop.time() + _TO_LEAVE
        while (service.connections or service.calls) and loop.time() < due:  # noqa: ASYNC110 - as above
            await asyncio.sleep(_POLL)
        for connection in list(service.connections):
            connection.abort()
        if self._clock is not None:
            self._clock.cancel()

    async def _accept(self, context: ssl.SSLContext | None) -> asyncio.Server:
        service, listening = self._service, self._socket
        if service is None or listening is None:
            raise RuntimeError("the engine has not been started")
        loop = asyncio.get_running_loop()
        age = self._limits.max_connection_age
        limits = self._of_connections

        def connection() -> Connection:
            # Give or take a tenth, so that clients that came together do not leave together.
            return Connection(service, limits, loop, age * random.uniform(0.9, 1.1))  # noqa: S311 - no secret

        return await loop.create_server(
            connection,
            sock=listening.dup(),
            ssl=context,
            backlog=2048,
            ssl_handshake_timeout=limits.header_timeout if context is not None else None,
            ssl_shutdown_timeout=2.0 if context is not None else None,
        )

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._clock = loop.call_later(_SWEEP, self._sweep)
        if self._service is not None:
            now = loop.time()
            for connection in list(self._service.connections):
                connection.sweep(now)


def _limits_of(limits: GrpcLimits) -> ConnectionLimits:
    return ConnectionLimits(
        max_message_bytes=limits.max_message_bytes,
        max_metadata_bytes=limits.max_metadata_bytes,
        max_streams=limits.max_concurrent_streams,
        header_timeout=limits.handshake_timeout,
        body_timeout=limits.message_timeout,
        min_body_rate=limits.min_message_rate,
        keepalive_time=limits.keepalive_time,
        keepalive_timeout=limits.keepalive_timeout,
        min_ping_interval=limits.min_ping_interval,
        max_age_grace=limits.max_connection_age_grace,
    )
