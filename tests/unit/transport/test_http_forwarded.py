"""What is believed of proxies' headers, and of whom."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pillion.transport.http.forwarded import Behind, TrustedProxies, networks

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = ("for", "proto", "host", "prefix")


class Seen:
    """An application that keeps the scope."""

    def __init__(self) -> None:
        self.scope: dict[str, object] = {}
        self.client = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope

    def knows(self, _: bytes) -> bool:
        return False

    def gather(self, _: int) -> None: ...

    def flush(self) -> None: ...

    def begin(self, target: bytes, headers: Any, body: bytes, client: Any = None) -> None:
        self.client = client()


def behind(headers: dict[str, str], which: tuple[str, ...] = ALL) -> Behind:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return TrustedProxies(Seen(), ["10.0.0.0/8", "fd00::/8"], which).behind(pairs)


@pytest.mark.parametrize(
    ("given", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("1.1.1.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),  # the first is what the client claimed
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),  # all are proxies: the one that is farthest
        ("unknown, 10.1.2.3", "10.1.2.3"),
        ("evil\x00, 203.0.113.7", "203.0.113.7"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_the_client_is_the_last_that_is_no_trusted_proxy(given: str, client: str) -> None:
    assert client == behind({"x-forwarded-for": given}).client


def test_values_are_those_of_the_proxy_that_saw_the_client() -> None:
    headers = {
        "x-forwarded-for": "1.1.1.1, 203.0.113.7, 10.1.2.3",
        "x-forwarded-proto": "http, https, http",
        "x-forwarded-host": "api.example.com:8443",
        "x-forwarded-prefix": "/ml/",
    }
    assert Behind("203.0.113.7", "https", "api.example.com:8443", "/ml") == behind(headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-forwarded-proto", "javascript"),
        ("x-forwarded-host", "a/b"),
        ("x-forwarded-host", "a b"),
        ("x-forwarded-prefix", "//evil.example"),
        ("x-forwarded-prefix", "/v2"),
        ("x-forwarded-prefix", "/a/../b"),
    ],
)
def test_what_cannot_be_is_not_taken(name: str, value: str) -> None:
    assert Behind() == behind({name: value})


def test_headers_that_no_proxy_writes_are_not_taken() -> None:
    headers = {
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-host": "evil.example",
        "forwarded": "for=1.1.1.1;host=evil.example",
    }
    assert Behind(client="203.0.113.7") == behind(headers, ("for", "proto"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("for=203.0.113.7;proto=https;host=a.example", Behind("203.0.113.7", "https", "a.example")),
        ('for="[2001:db8::1]:47", for=10.1.2.3;proto=http', Behind("2001:db8::1")),
        ('For="203.0.113.7:80";Proto=HTTPS , for=10.0.0.1', Behind("203.0.113.7", "https")),
        ('for=1.1.1.1;host="a,b", for=203.0.113.7;by=10.0.0.1', Behind("203.0.113.7")),
        ('for=", for=203.0.113.7;proto=https', Behind("203.0.113.7", "https")),  # half a pair of quotes hides nothing
        (r'for="\, for="[2001:db8::1]:47";proto=https', Behind("2001:db8::1", "https")),
        (r'for="a\\", for=203.0.113.7;host="a.\example"', Behind("203.0.113.7", "", "a.example")),
        ("for=_hidden", Behind()),
        ("for=", Behind()),
    ],
)
def test_the_header_of_rfc_7239_is_read_where_proxies_write_it(given: str, expected: Behind) -> None:
    assert expected == behind({"forwarded": given, "x-forwarded-for": "9.9.9.9"}, ("forwarded",))


@pytest.mark.parametrize("filler", ["a", " ", '"', '="', ";", "a=;"])
def test_a_long_header_of_a_client_costs_no_more_than_its_length(filler: str) -> None:
    begin = time.process_time()
    behind({"forwarded": filler * (30_000 // len(filler)) + ", for=203.0.113.7"}, ("forwarded",))
    assert time.process_time() - begin < 1.0  # each letter looked at once: some milliseconds


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        (("10.1.2.3", 80), ("203.0.113.7", 0)),
        (("::ffff:10.1.2.3", 80), ("203.0.113.7", 0)),
        (("11.1.2.3", 80), ("11.1.2.3", 80)),
        (("testclient", 80), ("testclient", 80)),
        (None, None),
    ],
)
async def test_only_a_peer_that_is_named_is_believed(peer: tuple[str, int] | None, client: object) -> None:
    seen = Seen()
    headers = [(b"host", b"inside"), (b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]
    scope = {"type": "websocket", "scheme": "ws", "path": "/x", "headers": headers, "client": peer}
    await TrustedProxies(seen, ["10.0.0.0/8"], ALL)(scope, None, None)  # type: ignore[arg-type]  # nobody reads
    assert client == seen.scope["client"]
    assert ("wss" if client == ("203.0.113.7", 0) else "ws") == seen.scope["scheme"]


async def test_the_unix_socket_has_to_be_named() -> None:
    seen = Seen()
    headers = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-host", b"a.example"), (b"host", b"inside")]
    scope = {"type": "http", "scheme": "http", "path": "/x", "headers": headers, "client": None}
    await TrustedProxies(seen, ["unix"], ALL)(scope, None, None)  # type: ignore[arg-type]  # nobody reads
    assert ("203.0.113.7", 0) == seen.scope["client"]
    headers_seen: Any = seen.scope["headers"]
    assert [b"a.example"] == [value for name, value in headers_seen if name == b"host"]


def test_short_requests_tell_the_same_client() -> None:
    seen = Seen()
    proxies = TrustedProxies(seen, ["10.0.0.0/8"], ALL)
    for peer, client in (("10.0.0.1:5", "203.0.113.7"), ("11.0.0.1:5", "11.0.0.1:5")):
        told: Callable[[], str] = partial(str, peer)
        proxies.begin(b"/x", [(b"x-forwarded-for", b"203.0.113.7")], b"", told)
        assert client == seen.client


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.0/99' is no network"):
        networks(["10.0.0.0/99"])
    assert networks(["10.0.0.1/8", "unix"])[1]
