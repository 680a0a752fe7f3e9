"""Which network addresses a user's URI may reach, and connecting to just the address that was checked.

A URI is written by whoever may create an InferenceService; the request is made by a pod or a server inside the
network. So URIs and their redirects must not reach loopback, link-local, unspecified and multicast addresses, nor the
metadata services of clouds, which hand out credentials. Private networks (10.0.0.0/8 and the like) are allowed: that
is where the buckets of a cluster live. The name is resolved once, every address of it is checked, and the connection
is made to the address that was checked, so an answer that changes between two look-ups (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from pillion.storage.errors import Reason, StorageError

__all__ = ["check_host", "connect", "why_forbidden"]

# Metadata services that are not link-local: AWS over IPv6, Google Cloud over IPv6, Alibaba, Oracle, Azure's host agent.
_METADATA: Final = frozenset(
    map(
        ip_address,
        ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
# Link-local, but never to be allowed: credentials of ECS tasks and of EKS pod identity.
_CREDENTIALS: Final = (ip_network("169.254.169.0/24"), ip_network("169.254.170.0/24"), ip_network("fd00:ec2::/32"))
_NAT64: Final = ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ip_network("::/96")
_THIS_NETWORK: Final = ip_network("0.0.0.0/8")

Address = IPv4Address | IPv6Address


def why_forbidden(text: str, *, allow_private_hosts: bool = False) -> str | None:
    """Why a user's URI may not reach this IP address; None where it may."""
    return _why(ip_address(text.partition("%")[0]), allow_private_hosts=allow_private_hosts)


def _why(address: Address, *, allow_private_hosts: bool) -> str | None:
    if address in _METADATA or any(address in network for network in _CREDENTIALS):
        return "a cloud metadata address"
    inner = _embedded(address)
    if inner is not None:
        return _why(inner, allow_private_hosts=allow_private_hosts)
    if address.is_unspecified or address in _THIS_NETWORK:
        return "an unspecified address"
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "a multicast or broadcast address"
    if allow_private_hosts:
        return None
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    return None


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: mapped, translated, 6to4, Teredo, compatible."""
    if not isinstance(address, IPv6Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    low = int(address) & 0xFFFFFFFF
    if address in _NAT64 or (address in _COMPATIBLE and low > 1):
        return IPv4Address(low)
    return None


def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]]:
    """The addresses of a host name, in the resolver's order.

    Raises:
        StorageError: `Reason.DOWNLOAD_FAILED`; transient, since resolvers fail for moments.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise StorageError(
            Reason.DOWNLOAD_FAILED,
            f"the host name {host[:253]!r} cannot be resolved",
            remedy="check the spelling, and DNS on this machine",
            transient=True,
        ) from error
    addresses: list[tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]] = []
    for family, _, _, _, where in found:
        if family in {socket.AF_INET, socket.AF_INET6}:
            addresses.append((family, where))  # type: ignore[arg-type]  # the third form is for a build without IPv6
    return addresses


def check_host(host: str, port: int, *, allow_private_hosts: bool) -> None:
    """Check every address of a host.

    Raises:
        StorageError: `Reason.FORBIDDEN_ADDRESS`, where one of them is forbidden; as `resolve`.
    """
    _checked(host, port, allow_private_hosts=allow_private_hosts)


def connect(host: str, port: int, *, timeout: float, allow_private_hosts: bool) -> socket.socket:
    """A connection to the first address of `host` that answers, each address checked before.

    Raises:
        StorageError: `Reason.FORBIDDEN_ADDRESS`; `Reason.DOWNLOAD_FAILED`, transient, where none answers.
    """
    last: OSError | None = None
    for family, where in _checked(host, port, allow_private_hosts=allow_private_hosts):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(where)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise StorageError(
        Reason.DOWNLOAD_FAILED,
        f"no connection to {host[:253]} port {port}: {last.strerror or last if last else 'it has no address'}",
        remedy="check that the server runs, and that network policies let this pod reach it",
        transient=True,
    ) from last


def _checked(
    host: str, port: int, *, allow_private_hosts: bool
) -> list[tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]]:
    addresses = resolve(host, port)
    for _, where in addresses:
        why = why_forbidden(where[0], allow_private_hosts=allow_private_hosts)
        if why is not None:
            local = "loopback" in why or "link-local" in why
            raise StorageError(
                Reason.FORBIDDEN_ADDRESS,
                f"the host {host[:253]!r} is {where[0]}, {why}, which storage URIs may not reach",
                remedy="name a host on the network"
                + (", or set PILLION_STORAGE_ALLOW_PRIVATE_HOSTS=true on your own machine" if local else ""),
            )
    return addresses
