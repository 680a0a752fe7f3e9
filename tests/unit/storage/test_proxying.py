"""Which proxy leads to an address, and which addresses none may lead to."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from pillion.storage import Reason, StorageError
from pillion.storage.proxying import place_of, proxy_to

PROXIES = {"HTTP_PROXY": "http://me:hush@proxy.example", "HTTPS_PROXY": "http://proxy.example:3128"}


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "169.254.169.254.", "2852039166", "0xA9FEA9FE", "169.254.43518", "127.1", "0x7f.1",
     "[::ffff:169.254.169.254]", "[fe80::1]"],
)  # fmt: skip
def test_no_proxy_is_asked_for_a_forbidden_address_however_it_is_written(host: str) -> None:
    with pytest.raises(StorageError) as refused:
        proxy_to(urlsplit(f"http://{host}/latest"), PROXIES)
    assert Reason.FORBIDDEN_ADDRESS is refused.value.reason


@pytest.mark.parametrize("host", ["localhost", "localhost.", "me.localhost", "127.0.0.1", "[::1]"])
def test_no_proxy_leads_to_this_machine(host: str) -> None:
    assert proxy_to(urlsplit(f"https://{host}/x"), PROXIES) is None


def test_a_name_and_an_address_of_the_network_go_through_it() -> None:
    for host in ("hub.example", "10.0.0.5", "fe.example"):
        found = proxy_to(urlsplit(f"http://{host}/x"), PROXIES)
        assert found is not None
        assert ("proxy.example", 80, "http://proxy.example") == (found.host, found.port, found.shown)
        assert {"Proxy-Authorization": "Basic bWU6aHVzaA=="} == found.headers


def test_a_proxy_is_told_names_in_the_letters_of_the_network() -> None:
    assert "xn--hb-xka.example:443" == place_of("hüb.example", 443)
    assert "[2001:db8::1]:80" == place_of("2001:db8::1", 80)
    with pytest.raises(StorageError, match="cannot be resolved"):
        place_of(f"{'ü' * 80}.example", 443)
