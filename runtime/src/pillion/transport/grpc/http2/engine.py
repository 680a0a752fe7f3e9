"""The gRPC engine on asyncio: listens, and keeps the clocks of its connections."""

from __future__ import annotations

import asyncio
import errno
import random
from typing import TYPE_CHECKING, Final

from pillion.transport.accepting import Acceptor
from pillion.transport.grpc.http2.connection import Connection
from pillion.transport.grpc.http2.limits import ConnectionLimits
from pillion.transport.grpc.http2.service import Service

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Sequence

    import grpc

    from pillion.transport.body_budget import BodyBudget
    from pillion.transport.grpc.engine import GrpcTls, UnixPlace
    from pillion.transport.grpc.guard import Guard
    from pillion.transport.grpc.limits import GrpcLimits

__all__ = ["AsyncioEngine"]

_SWEEP: Final = 0.25
_POLL: Final = 0.01
_BACKLOG: Final = 2048
_TLS_SHUTDOWN: Final = 2.0
_TO_LEAVE: Final = 1.0
"""Seconds for the last bytes to leave once every call has ended."""


class AsyncioEngine:
    """See :class:`pillion.transport.grpc.engine.GrpcEngine`.

    Args:
        limits: bounds of connections and of the server.
        bodies: bytes of messages in memory at a time.
    """

    def __init__(self, limits: GrpcLimits, bodies: BodyBudget) -> None:
        self._limits = limits
        self._bodies = bodies
        self._of_connections = _limits_of(limits)
        self._service: Service | None = None
        self._acceptor: Acceptor | None = None
        self._unix: Acceptor | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._until: float | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def start(
        self,
        address: str,
        tls: GrpcTls | None,
        handlers: Sequence[grpc.GenericRpcHandler],
        guard: Guard | None,
        unix: UnixPlace | None = None,
    ) -> int:
        """See :meth:`pillion.transport.grpc.engine.GrpcEngine.start`."""
        self._service = Service(
            handlers, guard, self._bodies, self._limits.max_connections, self._limits.max_concurrent_rpcs
        )
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            # Names and both families as asyncio resolves them; its server never accepts.
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
        listening = bound.sockets[0].dup()
        bound.close()
        listening.setblocking(False)
        listening.listen(_BACKLOG)
        number: int = listening.getsockname()[1]
        self._acceptor = self._accept(self._service, listening, None if tls is None else tls.context)
        if unix is not None:
            self._unix = self._accept(self._service, unix.bind(), None)
        self._clock = loop.call_later(_SWEEP, self._sweep)
        return number

    async def swap(self, context: ssl.SSLContext) -> None:
        """See :meth:`pillion.transport.grpc.engine.GrpcEngine.swap`."""
        if self._acceptor is not None:
            self._acceptor.use(context)

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
        for acceptor in (self._acceptor, self._unix):
            if acceptor is not None:
                await acceptor.close()
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

    def _accept(self, service: Service, listening: socket.socket, context: ssl.SSLContext | None) -> Acceptor:
        loop = asyncio.get_running_loop()
        age = self._limits.max_connection_age
        limits = self._of_connections

        def connection() -> Connection:
            # Give or take a tenth, so that clients that came together do not leave together.
            return Connection(service, limits, loop, age * random.uniform(0.9, 1.1))  # noqa: S311 - no secret

        def may_greet(greeting: int) -> bool:
            return greeting + len(service.connections) < self._limits.max_connections

        return Acceptor(listening, connection, context, limits.header_timeout, _TLS_SHUTDOWN, may_greet)

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
