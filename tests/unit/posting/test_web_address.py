from __future__ import annotations

import pytest

from pillion.web_address import WebAddress, web_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://sink", WebAddress("sink", 80, "/", False)),
        ("https://sink/a?b=c", WebAddress("sink", 443, "/a?b=c", True)),
        ("http://[::1]:9000/", WebAddress("::1", 9000, "/", False)),
    ],
)
def test_a_sinks_url_is_taken_apart(url: str, address: WebAddress) -> None:
    assert address == web_address(url, of="a sink")


@pytest.mark.parametrize(
    "url",
    ["", "sink", "ftp://sink", "http://", "http://u:p@sink", "http://sink/a b", "http://sink/\r\nx", "http://sink:x"],
)
def test_what_is_no_sinks_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sink"):
        web_address(url, of="a sink")
