"""Binding the ports before anything slow happens, with an error that names the way out."""

from __future__ import annotations

import errno
import socket

from pillion.server.failures import ExitCode, StartError
from pillion.server.sources import flag_of, variable_of

__all__ = ["BACKLOG", "bind", "reserve"]

BACKLOG = 2048


def bind(host: str, port: int, *, section: str, backlog: int = BACKLOG) -> socket.socket:
    """A listening TCP socket.

    Args:
        host: address or name to listen on.
        port: 0 lets the system choose; the socket's own name tells which.
        section: whose port it is (``http``, ``grpc``, ``admin``), for the message.
        backlog: connections that the kernel holds until they are accepted.

    Raises:
        StartError: with :attr:`ExitCode.BIND`; names port, reason and remedy.
    """
    listener = _bound(host, port, section)
    try:
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise _failure(error, host, port, section) from error
    listener.setblocking(False)
    return listener


def reserve(host: str, port: int, *, section: str) -> socket.socket:
    """A socket that holds a port for processes of ours, which listen on it by ``SO_REUSEPORT``; it does not listen.

    Sharing is allowed only once the port is ours: else two servers would share it, each with some of the connections.

    Raises:
        StartError: as :func:`bind`.
    """
    held = _bound(host, port, section)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Sockets that may use addresses again and do not listen do not exclude each other; this one is to exclude others.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return held


def _bound(host: str, port: int, section: str) -> socket.socket:
    try:
        # As bytes where that is the same: for text, Python loads the tables of international names first.
        name = host.encode() if host.isascii() else host
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _failure(error, host, port, section) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _failure(error, host, port, section) from error
    return bound


def _failure(error: OSError, host: str, port: int, section: str) -> StartError:
    choose = f"{flag_of(f'{section}.port')} or {variable_of(f'{section}.port')}"
    address = f"{flag_of(f'{section}.host')} or {variable_of(f'{section}.host')}"
    if error.errno == errno.EADDRINUSE:
        why = f"it is in use: stop the program that holds it, or choose another port with {choose}"
    elif error.errno in (errno.EACCES, errno.EPERM):
        why = f"permission denied: ports below 1024 need privileges; choose another with {choose}"
    elif isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        why = f"{host!r} is no address of this machine: choose another with {address}"
    else:
        why = f"{error.strerror or error}: choose another with {choose}"
    return StartError(ExitCode.BIND, f"cannot listen on {section} port {port} of {host}: {why}")
