"""The listeners: one for each port that stands for a port of a Service."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from pillion_operator.activator.splice import READER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion_operator.activator.connections import Connections
    from pillion_operator.activator.routes import Route

__all__ = ["Ports"]

_log: Final = logging.getLogger(__name__)


class Ports:
    """What is listened on."""

    def __init__(self, host: str, connections: Connections) -> None:
        self._host = host
        self._connections = connections
        self._servers: dict[int, tuple[Route, asyncio.Server]] = {}
        self._closed = asyncio.Event()

    @property
    def open(self) -> dict[int, Route]:
        """For which port of which Service each open port stands."""
        return {port: route for port, (route, _) in self._servers.items()}

    async def follow(self, wanted: Mapping[int, Route]) -> None:
        """Open and close ports so that they are as wanted; one that cannot be opened is logged and left for later."""
        if self._closed.is_set():
            return
        for port, (route, server) in list(self._servers.items()):
            if wanted.get(port) != route:
                # Connections that came through it go on.
                server.close()
                del self._servers[port]
        for port, route in wanted.items():
            if port in self._servers:
                continue
            try:
                server = await asyncio.start_server(
                    partial(self._connections.serve, route), self._host, port, limit=READER_BYTES
                )
            except OSError as error:
                _log.warning("port %d, which stands for %s, cannot be opened: %s", port, route, error)
            else:
                if self._closed.is_set():
                    server.close()
                    return
                self._servers[port] = (route, server)

    def close(self) -> None:
        """Take no more connections, whatever becomes wanted."""
        self._closed.set()
        for _, server in self._servers.values():
            server.close()
        self._servers.clear()
