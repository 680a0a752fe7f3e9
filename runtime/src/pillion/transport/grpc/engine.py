"""The seam between the gRPC services and what carries them.

The services are :class:`grpc.GenericRpcHandler` objects whose methods see a :class:`grpc.aio.ServicerContext`. An
engine listens, finds a method's handler among them, runs it and ends the call as it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Sequence

    import grpc

    from pillion.transport.grpc.guard import Guard

__all__ = ["GrpcEngine", "GrpcTls"]


class GrpcTls(msgspec.Struct, frozen=True):
    """TLS in the two forms that engines take."""

    credentials: grpc.ServerCredentials
    """Looks up the material at each handshake."""
    context: ssl.SSLContext
    """Of the material now; :meth:`GrpcEngine.swap` takes the next."""


class UnixPlace(Protocol):
    """The path of a unix socket, cleared of what a dead process left."""

    def bind(self) -> socket.socket:
        """A socket that listens there."""
        ...

    def bound_by(self, bind: Callable[[str], object]) -> None:
        """Have ``bind`` make it."""
        ...


class GrpcEngine(Protocol):
    """One listening server. Nothing is started again once it has been stopped."""

    async def start(
        self,
        address: str,
        tls: GrpcTls | None,
        handlers: Sequence[grpc.GenericRpcHandler],
        guard: Guard | None,
        unix: UnixPlace | None = None,
    ) -> int:
        """Listen on ``host:port`` and answer; gives the port.

        Args:
            address: port 0 is any free one.
            tls: None for plaintext.
            handlers: asked in their order for a method's handler.
            guard: asks for a key.
            unix: where to answer on a unix socket as well, in plaintext.

        Raises:
            OSError: the address cannot be bound.
        """
        ...

    async def swap(self, context: ssl.SSLContext) -> None:
        """Use this context for connections from now on, where credentials do not look it up by themselves."""
        ...

    async def stop(self, grace: float) -> None:
        """Take no new calls; those in progress get ``grace`` seconds, then they are cancelled. Asked again, the shorter
        time counts.
        """
        ...
