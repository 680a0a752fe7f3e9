"""Connections of one port from the accept on, so that TLS handshakes are among those that count.

asyncio's own acceptor shows a connection when its handshake is over: until then a client that says nothing would be one
that nobody counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["Acceptor"]

_log: Final = logging.getLogger("pillion.transport")
_NO_FILES: Final = 1.0
"""Seconds until the next try where the process may open no more files."""


class Acceptor:
    """Accepts until it is closed.

    Args:
        listening: a socket that listens and does not block; closed with the acceptor.
        connection: makes the protocol of a connection.
        context: for TLS from now on; :meth:`use` takes the next.
        handshake_timeout: seconds that a TLS handshake may take.
        shutdown_timeout: seconds that its end may take.
        may_greet: given the handshakes in progress, whether one more may begin.
    """

    def __init__(
        self,
        listening: socket.socket,
        connection: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
        handshake_timeout: float,
        shutdown_timeout: float,
        may_greet: Callable[[int], bool],
    ) -> None:
        self._listening = listening
        self._connection = connection
        self._context = context
        self._handshake_timeout = handshake_timeout
        self._shutdown_timeout = shutdown_timeout
        self._may_greet = may_greet
        self._greeting: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept())

    @property
    def greeting(self) -> int:
        """Connections whose handshake is not over."""
        return len(self._greeting)

    def use(self, context: ssl.SSLContext) -> None:
        """Serve another certificate from now on."""
        self._context = context

    async def close(self) -> None:
        """Accept no more, and end the handshakes that are not over."""
        ending = [self._accepting, *self._greeting]
        for task in ending:
            task.cancel()
        await asyncio.wait(ending)
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listening)
            except ConnectionError:
                continue  # it has left already
            except OSError as error:
                _log.warning("a connection cannot be accepted: %s", error)
                await asyncio.sleep(_NO_FILES)
                continue
            if self._context is not None and not self._may_greet(len(self._greeting)):
                accepted.close()  # nothing can be said before TLS
                continue
            task = loop.create_task(self._begin(accepted, self._context))
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    async def _begin(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            accepted.setblocking(False)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A handshake that fails, or takes too long, closes the socket.
            with contextlib.suppress(OSError, TimeoutError):
                await loop.connect_accepted_socket(
                    self._connection,
                    accepted,
                    ssl=context,
                    ssl_handshake_timeout=self._handshake_timeout if context is not None else None,
                    ssl_shutdown_timeout=self._shutdown_timeout if context is not None else None,
                )
        except asyncio.CancelledError:
            accepted.close()
            raise
