"""Which proxy leads to a server: the one that is given, else that of the environment. Nothing is sent here."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["hidden", "on_this_machine", "proxy_of"]

_SECURE: Final = frozenset({"https", "grpcs"})
_PORTS: Final = {"http": 80, "https": 443}
"""Of servers whose URL names none."""


def on_this_machine(url: str) -> bool:
    """Whether a URL leads to this machine: loopback, the address that stands for all of its own, or a unix socket."""
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    if parts.scheme == "unix" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def proxy_of(url: str, given: str | None, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy, or None where there is none.

    Args:
        url: of the server.
        given: a proxy for it; empty for none; None: that of the environment, ``HTTPS_PROXY`` for encrypted servers,
            ``HTTP_PROXY`` for others, else ``ALL_PROXY``, less ``NO_PROXY``; lower case goes before upper case. None of
            these leads to this machine: a proxy does not know our loopback.
        environ: the environment.

    Raises:
        ValueError: a proxy that cannot be used; it says where it was named, and not with which password.
    """
    parts = urlsplit(url)
    if given is not None:
        if given and parts.scheme == "unix":
            raise ValueError("proxy: no proxy leads to a unix socket: leave it out")
        return _usable(given, "proxy", parts.scheme) if given else None
    port = parts.port or _PORTS.get(parts.scheme)
    if on_this_machine(url) or _excepted(parts.hostname or "", port, _first(environ, "no_proxy")[1]):
        return None
    name, found = _first(environ, "https_proxy" if parts.scheme in _SECURE else "http_proxy")
    if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        found = ""  # in a CGI program that is a header of its request
    if not found:
        name, found = _first(environ, "all_proxy")
    return _usable(found, name, parts.scheme) if found else None


def hidden(proxy: str) -> str:
    """A proxy as it may be told: without its login."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _first(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    for spelled in (name, name.upper()):
        if environ.get(spelled):
            return spelled, environ[spelled]
    return name, ""


def _usable(proxy: str, named: str, scheme: str) -> str:
    whole = proxy if "://" in proxy else f"http://{proxy}"
    remedy = "write http://HOST:PORT" + ("" if named == "proxy" else "; or name the server in NO_PROXY")
    try:
        parts = urlsplit(whole)
        _ = parts.port
    except ValueError:  # which may tell what stands in the place of a password
        raise ValueError(f"{named}: this is no URL: {remedy}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{named}: {hidden(whole)} is no proxy of HTTP: {remedy}")
    if parts.scheme == "https" and scheme.startswith("grpc"):  # gRPC would leave it out and go there directly
        raise ValueError(f"{named}: {hidden(whole)}: gRPC reaches no proxy by TLS: {remedy}")
    return whole


def _excepted(host: str, port: int | None, entries: str) -> bool:
    for entry in entries.lower().split(","):
        name, wanted = _parted(entry.strip())
        if name == "*":
            return True
        if not name or (wanted and wanted != str(port)):
            continue
        if _within(host, name) or host == name or host.endswith(f".{name}"):
            return True
    return False


def _parted(entry: str) -> tuple[str, str]:
    """Host and port of an entry; a leading ``.`` or ``*.`` means the same as none."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, wanted = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    return (name if name == "*" else name.removeprefix("*").removeprefix(".")), wanted


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
