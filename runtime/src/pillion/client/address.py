"""What a client is told about its server: by arguments, else by the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pillion.client.errors import NeverSent
from pillion.client.retries import Retries
from pillion.proxies import hidden, proxy_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.client.tls import TLS

__all__ = ["Address", "address", "unreachable"]

_SCHEMES: Final = ("http", "https", "grpc", "grpcs", "unix")


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and how to talk to it.

    Attributes:
        url: as given, without a slash at its end.
        base: what paths are put behind; for gRPC ``host:port``.
        socket: path of a unix socket, or None.
        grpc: whether it speaks gRPC.
        secure: whether by TLS.
        headers: of every request.
        timeout: seconds for a call.
        proxy: the URL of the proxy that leads there, or None.
    """

    url: str
    base: str
    socket: str | None
    grpc: bool
    secure: bool
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    retries: Retries
    tls: TLS | None
    proxy: str | None = field(repr=False)


def address(
    url: str | None,
    *,
    api_key: str | None,
    timeout: float,
    tls: TLS | None,
    retries: Retries | int | None,
    headers: Mapping[str, str] | None,
    proxy: str | None,
) -> Address:
    """Check and complete what was given.

    Raises:
        ValueError: the URL is none of those that are spoken, or does not go together with ``tls``.
    """
    given = url or os.environ.get("PILLION_URL")
    if not given:
        raise ValueError("url: name the server, as in Client('http://127.0.0.1:8080'), or set PILLION_URL")
    try:
        parts = urlsplit(given)
        _ = parts.port
        (parts.hostname or "").encode("idna")  # as it is looked up
    except ValueError as error:
        raise ValueError(f"url: {given!r}: {error}") from None
    if parts.scheme not in _SCHEMES or not (parts.netloc or parts.scheme == "unix"):
        forms = "http(s)://HOST:PORT, grpc(s)://HOST:PORT or unix:///PATH"
        raise ValueError(f"url: {given!r} is not {forms}")
    if parts.scheme == "unix" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError(f"url: {given!r}: a socket is named by its whole path, unix:///run/pillion.sock")
    secure = parts.scheme in {"https", "grpcs"}
    if tls is not None and not secure:
        raise ValueError(f"tls: {given} is not encrypted: write https:// or grpcs://")
    key = os.environ.get("PILLION_API_KEY") if api_key is None else api_key
    sent = {} if not key else {"x-api-key": key}
    sent |= {name.lower(): value for name, value in (headers or {}).items()}
    if not timeout > 0:
        raise ValueError("timeout: seconds, more than 0")
    grpc = parts.scheme.startswith("grpc")
    base = parts.netloc if grpc else "http://localhost" if parts.scheme == "unix" else given.rstrip("/")
    policy = retries if isinstance(retries, Retries) else Retries() if retries is None else Retries(retries + 1)
    socket = parts.path if parts.scheme == "unix" else None
    way = proxy_of(given, proxy, os.environ)
    if way is not None and not grpc and tls is not None and tls.server_name is not None:
        raise ValueError("tls: server_name is not checked through a proxy: give proxy='', or leave it out")
    return Address(given.rstrip("/"), base, socket, grpc, secure, sent, timeout, policy, tls, way)


def unreachable(address: Address, reason: str) -> NeverSent:
    """That there was no connection, with what to look at."""
    if address.proxy is None:
        return NeverSent(f"cannot connect to {address.url}: {reason}: is the server running there?")
    hint = "is the proxy right? A server that needs none is named in NO_PROXY"
    return NeverSent(f"cannot connect to {address.url} through the proxy {hidden(address.proxy)}: {reason}: {hint}")
