"""Which proxy leads where."""

from __future__ import annotations

import pytest

from pillion.proxies import hidden, on_this_machine, proxy_of

OUT = "http://out.example:3128"
BOTH = {"HTTP_PROXY": "http://plain:1", "HTTPS_PROXY": "http://secure:2"}


@pytest.mark.parametrize(
    ("expected", "url", "environ"),
    [
        (None, "http://models.example", {}),
        ("http://plain:1", "http://models.example", BOTH),
        ("http://secure:2", "https://models.example", BOTH),
        ("http://plain:1", "grpc://models.example:8081", BOTH),
        ("http://secure:2", "grpcs://models.example:8081", BOTH),
        (OUT, "https://models.example", {"ALL_PROXY": OUT}),
        ("http://secure:2", "https://models.example", BOTH | {"ALL_PROXY": OUT}),
        (OUT, "http://models.example", {"HTTP_PROXY": "http://other:1", "http_proxy": OUT}),
        (OUT, "http://models.example", {"HTTP_PROXY": "out.example:3128"}),
        (None, "http://models.example", {"HTTP_PROXY": OUT, "REQUEST_METHOD": "GET"}),
        (OUT, "http://models.example", {"http_proxy": OUT, "REQUEST_METHOD": "GET"}),
    ],
)
def test_the_environment_says_which(expected: str | None, url: str, environ: dict[str, str]) -> None:
    assert expected == proxy_of(url, None, environ)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080", "http://127.9.9.9", "http://localhost:1", "http://[::1]:1", "unix:///run/a.sock",
     "http://a.localhost", "http://0.0.0.0:8080", "grpc://localhost:1"],
)  # fmt: skip
def test_a_proxy_of_the_environment_never_leads_to_this_machine(url: str) -> None:
    assert on_this_machine(url)
    assert proxy_of(url, None, {"ALL_PROXY": OUT, "HTTP_PROXY": OUT}) is None


@pytest.mark.parametrize(
    ("excepted", "url", "entries"),
    [
        (True, "http://models.example", "*"),
        (True, "http://models.example", "models.example"),
        (True, "http://a.models.example", "other, models.example"),
        (True, "http://a.models.example", ".models.example"),
        (True, "http://a.models.example", "*.models.example"),
        (True, "http://models.example:81", "models.example:81"),
        (True, "http://MODELS.example", "models.EXAMPLE"),
        (True, "http://models.example", "models.example:80"),
        (False, "http://models.example", "models.example:443"),
        (True, "http://10.1.2.3", "10.0.0.0/8"),
        (True, "http://10.1.2.3", "10.1.2.3"),
        (True, "http://[fd00::7]:81", "fd00::/8"),
        (True, "http://[fd00::7]:81", "[fd00::7]:81"),
        (False, "http://models.example:82", "models.example:81"),
        (False, "http://notmodels.example", "models.example"),
        (False, "http://models.example", "a.models.example,,"),
        (False, "http://11.1.2.3", "10.0.0.0/8"),
        (False, "http://models.example", "10.0.0.0/8"),
    ],
)
def test_no_proxy_excepts_names_ports_and_networks(excepted: bool, url: str, entries: str) -> None:  # noqa: FBT001 - a case
    for name in ("no_proxy", "NO_PROXY"):
        assert (None if excepted else OUT) == proxy_of(url, None, {"HTTP_PROXY": OUT, name: entries})


def test_what_is_given_goes_before_the_environment_and_leads_to_this_machine_too() -> None:
    assert OUT == proxy_of("http://127.0.0.1:1", OUT, {"NO_PROXY": "*"})
    assert proxy_of("http://models.example", "", {"HTTP_PROXY": OUT}) is None


def test_what_cannot_be_a_proxy_is_named_without_its_password() -> None:
    with pytest.raises(ValueError, match=r"^ALL_PROXY: socks5://out:1 is no proxy of HTTP.*NO_PROXY$") as no:
        proxy_of("http://models.example", None, {"ALL_PROXY": "socks5://me:hush@out:1"})
    assert "hush" not in str(no.value)
    with pytest.raises(ValueError, match=r"^proxy: ftp://out is no proxy of HTTP: write http://HOST:PORT$"):
        proxy_of("http://models.example", "ftp://out", {})
    with pytest.raises(ValueError, match="no proxy leads to a unix socket"):
        proxy_of("unix:///run/a.sock", OUT, {})
    assert "http://out:1" == hidden("http://me:hush@out:1")


@pytest.mark.parametrize("proxy", ["http://me:hush@out:port", "http://me:hush@[fd00", "http://me:hush@out:99999"])
def test_a_proxy_that_is_no_url_is_told_by_its_setting_alone(proxy: str) -> None:
    with pytest.raises(ValueError, match=r"^HTTP_PROXY: this is no URL: write http://HOST:PORT; or .* NO_PROXY$"):
        proxy_of("http://models.example", None, {"HTTP_PROXY": proxy})


def test_grpc_is_not_led_past_a_proxy_that_it_cannot_use() -> None:
    with pytest.raises(ValueError, match=r"^ALL_PROXY: https://out:1: gRPC reaches no proxy by TLS: .*NO_PROXY$"):
        proxy_of("grpcs://models.example:8081", None, {"ALL_PROXY": "https://out:1"})
    assert proxy_of("https://models.example", None, {"ALL_PROXY": "https://out:1"}) == "https://out:1"
