"""What proxies in front say of the client: believed of those that are named, and only in headers that they write.

A header that a proxy does not write itself is whatever the client sent, so which ones count is a setting beside the
networks. Nobody pays for it where no proxy is named: then this is not there at all.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pillion.route_prefix import normal_root

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence

    from pillion.transport.http.direct import DirectAnswer, DirectApplication, DirectCall

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Behind", "Network", "TrustedProxies", "networks"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNIX: Final = "unix"
"""Who connects by the unix socket, which has no address."""
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ESCAPE: Final = re.compile(r"\\(.)")
_SCHEMES: Final = {"http": ("http", "ws"), "https": ("https", "wss")}


def networks(texts: Iterable[str]) -> tuple[tuple[Network, ...], bool]:
    """The networks that are named, and whether the unix socket is.

    Raises:
        ValueError: one is none; the text has it.
    """
    found: list[Network] = []
    unix = False
    for text in texts:
        if text == UNIX:
            unix = True
            continue
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ValueError(
                f"{text!r} is no network: write an address, a network such as 10.0.0.0/8, or {UNIX}"
            ) from None
    return tuple(found), unix


class Behind(NamedTuple):
    """What is believed of a request."""

    client: str = ""
    scheme: str = ""
    host: str = ""
    prefix: str = ""


class TrustedProxies:
    """An ASGI application around another, and a :class:`~pillion.transport.http.direct.DirectApplication`.

    Args:
        app: the other, likewise both.
        trusted: networks of the proxies, or ``unix``.
        headers: which they write: ``for``, ``proto``, ``host`` and ``prefix`` of ``X-Forwarded-``, or ``forwarded``
            (RFC 7239), which then stands for the first three.

    Raises:
        ValueError: a network is none.
    """

    def __init__(self, app: Any, trusted: Sequence[str], headers: Sequence[str]) -> None:  # noqa: ANN401 - as said
        self._app: ASGIApp = app
        self._direct: DirectApplication = app
        self._networks, self._unix = networks(trusted)
        self._headers = frozenset(headers)
        self.knows = self._direct.knows
        self.gather = self._direct.gather
        self.flush = self._direct.flush

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection scope, as ASGI defines it."""
        if scope["type"] != "lifespan":
            peer = scope.get("client")
            if self._trusts("" if peer is None else peer[0]):
                scope = _seen(scope, self.behind(scope["headers"]))
        await self._app(scope, receive, send)

    def begin(
        self,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        client: Callable[[], str] | None = None,
    ) -> DirectAnswer | DirectCall | None:
        """See :class:`~pillion.transport.http.direct.DirectApplication`."""

        def told() -> str:
            peer = "" if client is None else client()
            if not self._trusts(peer.rpartition(":")[0]):
                return peer
            return self.behind(headers).client or peer

        return self._direct.begin(target, headers, body, told)

    def _trusts(self, address: str) -> bool:
        if not address:
            return self._unix
        try:
            peer = ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None)
        return any((mapped or peer) in network for network in self._networks)

    def behind(self, headers: Iterable[tuple[bytes, bytes]]) -> Behind:
        """What the headers say, as far as the settings let them."""
        lists: dict[str, list[str]] = {}
        for name, value in headers:
            if name.startswith((b"x-forwarded-", b"forwarded")):
                lists.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        if not lists:
            return Behind()
        if "forwarded" in self._headers:
            pairs = [_pairs(one) for one in _parts(",".join(lists.get("forwarded", [])), ",")]
            addresses, schemes, hosts = ([one.get(key, "") for one in pairs] for key in ("for", "proto", "host"))
        else:
            addresses, schemes, hosts = (
                _split(lists.get(f"x-forwarded-{key}", [])) if key in self._headers else []
                for key in ("for", "proto", "host")
            )
        client, hops = self._client(addresses)
        scheme, host = _at(schemes, hops).lower(), _at(hosts, hops)
        prefix = _at(_split(lists.get("x-forwarded-prefix", [])), hops) if "prefix" in self._headers else ""
        return Behind(
            client,
            scheme if scheme in _SCHEMES else "",
            host if _HOST.fullmatch(host) else "",
            _prefix(prefix),
        )

    def _client(self, addresses: Sequence[str]) -> tuple[str, int]:
        """The last address that is no trusted proxy's, and how many entries from the end it is.

        What stands before that one is the client's own word.
        """
        found, hops = "", 0
        for text in reversed(addresses):
            address = _address(text)
            if not address:
                break  # what somebody unknown wrote is as good as nothing
            found, hops = address, hops + 1
            if not self._trusts(address):
                break
        return found, max(hops, 1)


def _seen(scope: Scope, behind: Behind) -> Scope:
    if behind == Behind():
        return scope
    seen = dict(scope)
    if behind.client:
        seen["client"] = (behind.client, 0)
    if behind.scheme:
        seen["scheme"] = _SCHEMES[behind.scheme][scope["type"] == "websocket"]
    if behind.host:
        headers = [header for header in scope["headers"] if header[0] != b"host"]
        seen["headers"] = [*headers, (b"host", behind.host.encode("ascii"))]
    if behind.prefix:
        seen["root_path"] = behind.prefix + (scope.get("root_path") or "")
        seen["path"] = behind.prefix + scope["path"]
        seen["raw_path"] = behind.prefix.encode() + (scope.get("raw_path") or scope["path"].encode())
    return seen


def _split(lines: Sequence[str]) -> list[str]:
    return [part.strip() for line in lines for part in line.split(",")]


def _at(values: Sequence[str], hops: int) -> str:
    """The one that the proxy wrote which saw the client; one that wrote a single value wrote it for all."""
    return values[max(len(values) - hops, 0)] if values else ""


def _parts(text: str, separator: str) -> list[str]:
    """What separators part; one within quotes is none. A quote that is never closed is none either: clients could hide
    behind half a pair of quotes what the proxy wrote.

    One character after the other, as the client chooses most of them: its choice must not cost more than their number.
    """
    found, begin, quoted, escaped = [], 0, False, False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == '"':
            quoted = not quoted
        elif quoted:
            escaped = character == "\\"
        elif character == separator:
            found.append(text[begin:index])
            begin = index + 1
    return text.split(separator) if quoted else [*found, text[begin:]]


def _pairs(element: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for part in _parts(element, ";"):
        name, _, value = part.partition("=")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = _ESCAPE.sub(r"\1", value[1:-1])
        found.setdefault(name.strip().lower(), value)
    return found


def _address(text: str) -> str:
    """The address of ``1.2.3.4:5``, ``[::1]:5`` and so on; empty where it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _prefix(text: str) -> str:
    try:
        return normal_root(text, "X-Forwarded-Prefix")
    except ValueError:
        return ""
