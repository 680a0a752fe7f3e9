"""An HTTP(S) port: accepts connections on a socket bound beforehand and makes a protocol for each.

uvicorn's ``Server`` installs signal handlers, cannot change its certificate and sets no time limit on a TLS handshake;
its protocol, which does the work, needs only a config and a state. So the listener is ours. The event loop accepts for
it in plaintext; with TLS our own acceptor does, for which handshakes are connections that count.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from uvicorn.config import Config

from pillion.server.ports import BACKLOG
from pillion.transport.accepting import Acceptor
from pillion.transport.http.direct import DirectHttpProtocol
from pillion.transport.http.engine import EngineState

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from pillion.transport.http.limits import HttpLimits

__all__ = ["HttpListener"]

_POLL = 0.02
_SETTLE = 0.1
"""Seconds for what clients have sent already to be read."""


class HttpListener:
    """One port.

    Args:
        app: the ASGI application. Its lifespan is not run: the server has a life cycle of its own.
        limits: bounds of each connection.
        refused: told the name of the limit whenever a request is refused.
        websockets: whether connections may become WebSockets; then ``app`` answers those, too.
        backlog: connections that the kernel holds until they are accepted.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: HttpLimits,
        refused: Callable[[str], None],
        *,
        websockets: bool = False,
        backlog: int = BACKLOG,
    ) -> None:
        self._backlog = backlog
        self._config = Config(
            app,
            http=DirectHttpProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws_max_size=limits.max_body_bytes,
            ws_per_message_deflate=False,  # a small message must not become a large one
        )
        self._config.timeout_keep_alive = limits.keep_alive  # type: ignore[assignment]  # fractions: only call_later sees it
        self._config.load()
        self.state = EngineState(limits, refused)
        self.state.websockets = websockets
        self._server: asyncio.Server | None = None
        self._acceptor: Acceptor | None = None
        self._socket: socket.socket | None = None
        self._unix: asyncio.Server | None = None
        self._clock: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The real port, also where 0 was asked for."""
        if self._socket is None:
            raise RuntimeError("the listener is not open")
        port: int = self._socket.getsockname()[1]
        return port

    async def open(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept on ``listening``; with ``context`` speak TLS."""
        self._socket = listening
        self._tick()
        if context is None:
            self._server = await self._plain(listening)
        else:
            self._acceptor = self._with_tls(listening, context)

    async def open_unix(self, listening: socket.socket) -> None:
        """Accept on a unix socket as well, in plaintext. Who may connect is its file's matter."""
        loop = asyncio.get_running_loop()
        self._unix = await loop.create_unix_server(
            lambda: DirectHttpProtocol(self._config, self.state, loop), sock=listening, backlog=self._backlog
        )

    async def swap(self, context: ssl.SSLContext) -> None:
        """Use ``context`` for connections accepted from now on.

        Each has its own session cache and ticket keys, so that no session outlives the material it began with.
        """
        if self._acceptor is None:
            raise RuntimeError("the listener does not speak TLS")
        self._acceptor.use(context)

    def _connection(self) -> DirectHttpProtocol:
        return DirectHttpProtocol(self._config, self.state, asyncio.get_running_loop())

    async def _plain(self, listening: socket.socket) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: DirectHttpProtocol(self._config, self.state, loop), sock=listening.dup(), backlog=self._backlog
        )

    def _with_tls(self, listening: socket.socket, context: ssl.SSLContext) -> Acceptor:
        limits = self.state.limits
        accepting = listening.dup()
        accepting.setblocking(False)
        accepting.listen(self._backlog)
        return Acceptor(accepting, self._connection, context, limits.header_timeout, limits.linger, self._may_greet)

    def _may_greet(self, greeting: int) -> bool:
        """Whether one more TLS handshake may begin. Where all connections are taken one may, to be told so."""
        allowed = greeting <= max(0, self.state.limits.max_connections - len(self.state.connections))
        if not allowed:
            self.state.refused("connections")
        return allowed

    def _tick(self) -> None:
        """Renew the Date header each second."""
        self.state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(1.0, self._tick)

    def drain(self) -> None:
        """Answer with ``Connection: close`` from now on."""
        self.state.drain()

    @staticmethod
    async def _settle(deadline: float, cut: asyncio.Event) -> None:
        if not cut.is_set():
            await asyncio.sleep(min(_SETTLE, max(0.0, deadline - asyncio.get_running_loop().time())))

    async def close(self, *, deadline: float, cut: asyncio.Event) -> int:
        """Stop accepting, close idle connections, let requests in progress end.

        Args:
            deadline: on the loop's clock; what still runs then is cancelled.
            cut: set from outside to cancel at once.

        Returns:
            The number of requests that were cut.
        """
        if self._socket is None and self._unix is None:
            return 0  # it was never opened
        loop = asyncio.get_running_loop()
        self.state.drain()
        # Requests that have left their clients already are read and answered before idle connections are closed.
        await self._settle(deadline, cut)
        await self._stop_accepting()
        # And those of connections that were accepted last.
        await self._settle(deadline, cut)
        self.state.close_idle()
        while (self.state.tasks or self.state.connections) and not cut.is_set() and loop.time() < deadline:  # noqa: ASYNC110 - uvicorn keeps sets: nothing to wait for
            await asyncio.sleep(_POLL)
        if cut.is_set():
            await asyncio.sleep(_POLL)  # for streams that are being ended to say so
        left = list(self.state.tasks)
        for connection in list(self.state.connections):
            connection.cut()
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)
        if self._clock is not None:
            self._clock.cancel()
        return len(left)

    async def _stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._acceptor is not None:
            await self._acceptor.close()
            self._acceptor = None
        if self._unix is not None:
            self._unix.close()
            self._unix = None
        if self._socket is not None:
            self._socket.close()
