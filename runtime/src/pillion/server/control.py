"""The control socket: how the preStop hook asks for the drain.

A unix socket and not a port, so that nothing outside the pod can reach it; the file is 0600, and the peer must be the
same user or root. One request a connection, one JSON object a line:

    {"command": "drain"}                     the pod is deleted: stay ready, answer when the window has ended
    {"command": "drain", "deletion": false}  take no new work and turn /readyz to 503; answers at once
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.server.settings import ControlSettings
from pillion.server.unix_socket import UnixSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ControlSocket", "opened"]

_log = logging.getLogger(__name__)

_CREDENTIALS = struct.Struct("3i")


async def opened(path: str, drain: Callable[[bool], Awaitable[None]]) -> ControlSocket | None:
    """The socket at ``path``; None where none is wanted, or the folder of the default one is not there.

    Raises:
        StartError: the path cannot be used.
    """
    if not path:
        return None
    if path == ControlSettings().socket and not Path(path).parent.exists():
        _log.info("no control socket: %s is not there, so no preStop hook can ask for a drain", Path(path).parent)
        return None
    control = ControlSocket(path, drain)
    await control.open()
    return control


class ControlSocket:
    """The listening end.

    Args:
        path: of the socket file.
        drain: called with ``deletion``; returns when the window has ended.
    """

    def __init__(self, path: str, drain: Callable[[bool], Awaitable[None]]) -> None:
        self._socket = UnixSocket(path, 0o600, setting="control.socket", what="control socket")
        self._drain = drain
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Bind the socket; one left behind by a dead process is replaced.

        Raises:
            StartError: the path cannot be used, or another process answers on it.
        """
        listener = self._socket.bind()
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=4096)

    def close(self) -> None:
        """Stop listening and remove the file, if it is still ours."""
        if self._server is not None:
            self._server.close()
        self._socket.remove()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(reader, writer)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError, TimeoutError) as error:
            _log.debug("control connection ended: %s", error)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, object]:
        user = _peer_user(writer.get_extra_info("socket"))
        if user not in (os.geteuid(), 0):
            return {"error": f"user {user} may not control this process"}
        async with asyncio.timeout(5.0):
            line = await reader.readline()
        try:
            request = json.loads(line)
        except ValueError:
            return {"error": "not a JSON object on one line"}
        if not isinstance(request, dict) or request.get("command") != "drain":
            return {"error": 'unknown command: {"command": "drain"} is the only one'}
        await self._drain(request.get("deletion") is not False)
        return {"result": "drained"}


def _peer_user(connection: socket.socket) -> int:
    """User id at the other end (SO_PEERCRED, unix(7)); on systems without it the file mode alone decides."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid()
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    return int(user)
