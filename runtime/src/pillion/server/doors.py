"""What a server listens on: the two data ports, the admin port, the sockets beside them, and their certificates."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from pillion.server.assembly import admin_limits, http_limits
from pillion.server.control import opened
from pillion.server.failures import ExitCode, StartError
from pillion.server.listener import HttpListener
from pillion.server.management_rights import management_warning
from pillion.server.ports import bind
from pillion.server.tls_reload import TlsKeeper
from pillion.server.unix_socket import unix_socket
from pillion.transport.grpc.engine import GrpcTls

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp

    from pillion.server.front.place import Place
    from pillion.server.metrics import ServerMetrics
    from pillion.server.settings import Settings
    from pillion.server.tls import TlsConfig
    from pillion.transport.grpc.engine import UnixPlace
    from pillion.transport.grpc.server import GrpcServer

__all__ = ["Doors"]

_log = logging.getLogger(__name__)
_ADMIN_SECONDS: Final = 0.2
"""What requests on the admin port get to end."""


class Doors:
    """See the module's docstring. Event loop's thread only.

    Args:
        settings: all of them.
        app: what answers on the HTTP data port.
        admin: what answers on the admin port.
        grpc: the server of the gRPC data port.
        tls: certificates of both data ports; None for plaintext.
        metrics: counts connections and what is refused.
    """

    def __init__(
        self,
        settings: Settings,
        app: Any,  # noqa: ANN401 - the dispatcher, or what stands in front of it
        admin: ASGIApp,
        grpc: GrpcServer,
        tls: TlsConfig | None,
        metrics: ServerMetrics,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._http = HttpListener(
            app, http_limits(settings), metrics.refused, websockets=True, backlog=settings.http.backlog
        )
        self._admin = HttpListener(admin, admin_limits(settings), metrics.refused)
        self._grpc = grpc
        self._tls_config = tls
        self._tls: TlsKeeper | None = None
        self._bound: tuple[socket.socket, socket.socket, socket.socket] | None = None
        self._stack = contextlib.AsyncExitStack()
        self.ports: dict[str, int] = {}
        """By name, once they are open."""
        metrics.http_connections(lambda: len(self._http.state.connections))

    # --- opening

    def bind(self) -> None:
        """Take the ports, and answer nobody yet: one in use is known in a millisecond, not after a model was loaded.

        Raises:
            StartError: one cannot be had.
        """
        settings = self._settings
        http = bind(settings.http.host, settings.http.port, section="http", backlog=settings.http.backlog)
        self._stack.callback(http.close)
        admin = bind(settings.admin.host, settings.admin.port, section="admin")
        self._stack.callback(admin.close)
        # grpc binds by itself: this only finds out whether it will be able to.
        grpc = bind(settings.grpc.host, settings.grpc.port, section="grpc")
        self._stack.callback(grpc.close)
        self._bound = http, admin, grpc

    def read_certificates(self) -> None:
        """Read what the data ports show.

        Raises:
            StartError: it cannot be used.
        """
        if self._tls_config is not None:
            self._tls = TlsKeeper(self._tls_config, self._metrics, interval=self._settings.tls.poll_seconds)

    async def open(self, drain: Callable[[bool], Awaitable[None]]) -> None:
        """Answer on the ports that :meth:`bind` took, and on the control socket, where ``drain`` can be asked for.

        Raises:
            StartError: the gRPC port or a socket cannot be had.
        """
        assert self._bound is not None  # noqa: S101 - bind() comes first
        http, admin, grpc = self._bound
        control = await opened(self._settings.control.socket, drain)
        if control is not None:
            self._stack.callback(control.close)
        grpc.close()
        unix = unix_socket(self._settings.grpc, "grpc")
        if unix is not None:
            self._stack.callback(unix.remove)
        grpc_port = await self._start_grpc(unix)
        await self._http.open(http, self._context)
        unix = unix_socket(self._settings.http, "http")
        if unix is not None:
            await self._http.open_unix(unix.bind())
            self._stack.callback(unix.remove)
        await self._admin.open(admin, None)
        self.ports = {"http": self._http.port, "grpc": grpc_port, "admin": self._admin.port}
        self._announce()

    async def open_given(self, place: Place) -> None:
        """Answer on the ports that several workers share; the admin port is their supervisor's.

        Raises:
            StartError: the gRPC port cannot be had; the supervisor knows.
        """
        try:
            await self._start_grpc(None)
        except StartError as failure:
            place.give_up(failure)
            raise
        await self._http.open(place.http, self._context)
        self.ports = place.ports
        self._announce()

    async def follow_certificates(self) -> None:
        """Show the next ones when their files change, for as long as the server runs."""
        if self._tls is not None:
            await self._tls.watch(self._swap)

    @property
    def _context(self) -> ssl.SSLContext | None:
        return None if self._tls is None else self._tls.context

    async def _start_grpc(self, unix: UnixPlace | None) -> int:
        settings = self._settings.grpc
        tls = None if self._tls is None else GrpcTls(self._tls.grpc_credentials(), self._tls.http2_context)
        try:
            return await self._grpc.start(_address(settings.host, settings.port), tls, unix)
        except OSError as error:
            raise StartError(
                ExitCode.BIND, f"{error.strerror}: choose another port with --grpc-port or PILLION_GRPC__PORT"
            ) from error

    async def _swap(self, context: ssl.SSLContext) -> None:
        await self._http.swap(context)
        if self._tls is not None:
            await self._grpc.swap(self._tls.http2_context)

    def _announce(self) -> None:
        settings = self._settings
        mode = "plaintext" if self._tls is None else "mutual TLS" if self._tls.mutual else "TLS"
        _log.info("listening with %s", mode, extra={"ports": self.ports, "host": settings.http.host, "tls": mode})
        if warning := management_warning(settings):
            _log.warning("%s", warning)
        age, window = settings.grpc.max_connection_age_seconds, settings.drain.window_seconds
        if 0 < window < 1.2 * age:
            _log.warning(
                "drain.window_seconds is %g, less than 1.2 x grpc.max_connection_age_seconds (%g): gRPC clients may "
                "see a failed call when this process stops; raise the one or lower the other",
                window,
                age,
            )

    # --- closing

    def drain(self) -> None:
        """Have HTTP clients connect elsewhere from their next request on."""
        self._http.drain()

    async def close_http(self, deadline: float, cut: asyncio.Event) -> int:
        """Let requests end until then, or until they are to be cut; how many were cut."""
        return await self._http.close(deadline=deadline, cut=cut)

    async def close(self, cut: asyncio.Event) -> None:
        """The admin port, and all that was taken, in reverse, whether the start was complete or not."""
        await self._admin.close(deadline=asyncio.get_running_loop().time() + _ADMIN_SECONDS, cut=cut)
        await self._stack.aclose()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
