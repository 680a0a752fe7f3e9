"""Programs of one machine that call each other: functions by path, over a unix socket, or TCP with TLS or a token.

Names: :class:`SocketApplication` has the functions, :class:`SocketServer` answers, :class:`SocketClient` and
:class:`AsyncSocketClient` call. Values are MessagePack and arrays as they lie in memory; nothing is ever unpickled.
"""

from __future__ import annotations

from pillion.socket.aio import AsyncSocketClient
from pillion.socket.application import NOTHING, SocketApplication
from pillion.socket.client import SocketClient
from pillion.socket.connection import RefusedError
from pillion.socket.errors import (
    ConnectionLostError,
    EnqueueTimeoutError,
    NotServedError,
    ProtocolError,
    RemoteError,
    ResponseTimeoutError,
    SocketError,
    UnknownPathError,
)
from pillion.socket.server import SocketServer

__all__ = [
    "NOTHING",
    "AsyncSocketClient",
    "ConnectionLostError",
    "EnqueueTimeoutError",
    "NotServedError",
    "ProtocolError",
    "RefusedError",
    "RemoteError",
    "ResponseTimeoutError",
    "SocketApplication",
    "SocketClient",
    "SocketError",
    "SocketServer",
    "UnknownPathError",
]
