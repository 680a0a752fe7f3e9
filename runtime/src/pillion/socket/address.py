"""Where a socket server listens, and who may connect there."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl

__all__ = ["Address", "peer_uid", "tcp_listener"]

_LONGEST = 107
"""Bytes of a path that the kernel takes."""
_LAST_PORT = 65535


class Address(NamedTuple):
    """One of the two."""

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def of(cls, path: str | os.PathLike[str] | None, host: str | None, port: int | None) -> Address:
        """What was given, if it is exactly one.

        Raises:
            TypeError: the port is no number.
            ValueError: it is not.
        """
        if (path is None) == (port is None) or (path is not None and host is not None):
            raise ValueError("give either path= of a unix socket, or port= and host= of TCP")
        if port is not None and not isinstance(port, int):
            raise TypeError(f"port is a number, and not a {type(port).__name__}")
        if port is not None and not 0 <= port <= _LAST_PORT:
            raise ValueError(f"port is {port}: ports are from 1 to {_LAST_PORT}, and 0 is any that is free")
        if path is None:
            return cls(host=host or "127.0.0.1", port=port or 0)
        if not os.fspath(path):
            raise ValueError("path is empty: name the file of the unix socket")
        full = os.fspath(Path(path).expanduser().absolute())
        if len(os.fsencode(full)) > _LONGEST:
            raise ValueError(f"the path {full} is longer than the {_LONGEST} bytes that a unix socket can have")
        return cls(path=full)

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")

    def check_safe(self, tls: ssl.SSLContext | None, token: str | None) -> None:
        """Refuse to listen for strangers in the open.

        Raises:
            ValueError: other machines could connect, and neither TLS nor a token is asked of them.
        """
        if self.path or tls is not None or token is not None or self.host == "localhost":
            return
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(self.host).is_loopback:
                return
        raise ValueError(
            f"host {self.host} can be reached from other machines, and anybody there could call: set tls= or token=, "
            "or listen on 127.0.0.1 or a unix socket"
        )


def tcp_listener(address: Address, backlog: int) -> socket.socket:
    """A listening TCP socket.

    Raises:
        OSError: the port cannot be bound.
    """
    family, kind, protocol, _, at = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(at)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def peer_uid(connection: object) -> int:
    """The user that the process at the other end of a unix socket runs as."""
    credentials = connection.getsockopt(  # type: ignore[attr-defined]  # a socket, or asyncio's view of one
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
