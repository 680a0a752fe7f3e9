"""Through a proxy of the environment: which one leads to an address, and the tunnel through it.

Behind a proxy the names are its own to look up, so the address rule holds for what is written as an address only.
"""

from __future__ import annotations

import base64
import http.client
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pillion.proxies import hidden, proxy_of
from pillion.storage.addresses import why_forbidden
from pillion.storage.errors import Reason, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv6Address
    from urllib.parse import SplitResult

__all__ = ["Proxy", "place_of", "proxy_to", "tunnel"]


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where it is, and the login that it wants, as headers."""

    host: str
    port: int
    headers: Mapping[str, str]
    shown: str
    """For messages, without its login."""


def proxy_to(url: SplitResult, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy that leads there; None where the environment names none for it.

    Raises:
        StorageError: `Reason.INVALID_SETTING`, naming the variable; `Reason.FORBIDDEN_ADDRESS`.
    """
    try:
        found = proxy_of(url.geturl(), None, environment)
    except ValueError as error:
        raise StorageError(Reason.INVALID_SETTING, str(error), remedy="correct the variable") from None
    if found is None:
        return None
    parts = urlsplit(found)
    if parts.scheme == "https":
        text = f"{hidden(found)} is a proxy that is reached by TLS, which storage does not do"
        raise StorageError(Reason.INVALID_SETTING, text, remedy="write http://HOST:PORT; or name the host in NO_PROXY")
    address = _written(url.hostname or "")
    if address is not None:
        why = why_forbidden(str(address))
        if why is not None:
            text = f"the host {address} is {why}, which storage URIs may not reach"
            raise StorageError(Reason.FORBIDDEN_ADDRESS, text, remedy="name a host on the network")
    headers = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return Proxy(parts.hostname or "", parts.port or 80, headers, hidden(found))


def place_of(host: str, port: int) -> str:
    """Host and port as a proxy is told them.

    Raises:
        StorageError: the name is none.
    """
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        text, remedy = f"the host name {host[:253]!r} cannot be resolved", "check the spelling"
        raise StorageError(Reason.DOWNLOAD_FAILED, text, remedy=remedy) from None
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _written(host: str) -> IPv4Address | IPv6Address | None:
    """The address that stands there, also as the proxy's resolver may read it: 0x7f000001, 127.1; None for a name."""
    host = host.removesuffix(".")
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return ip_address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def tunnel(connection: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Have the proxy connect to a host. What is written on the connection afterwards goes there.

    Raises:
        StorageError: it does not.
        OSError: it is not heard, or speaks something else (``http.client.HTTPException``).
    """
    place = place_of(host, port)
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", *(f"{key}: {one}" for key, one in proxy.headers.items())]
    connection.sendall("\r\n".join((*lines, "", "")).encode("ascii"))
    answer = http.client.HTTPResponse(connection, method="CONNECT")
    try:
        answer.begin()
        status = answer.status
    finally:
        answer.close()
    if status != 200:
        remedy = "give its login in HTTPS_PROXY" if status == 407 else "check HTTPS_PROXY and NO_PROXY"
        text = f"the proxy {proxy.shown} answered {status} and does not lead to {place}"
        raise StorageError(Reason.DOWNLOAD_FAILED, text, remedy=remedy, transient=status >= 500)
