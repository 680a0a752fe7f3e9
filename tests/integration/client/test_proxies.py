"""Through a proxy, by each transport and by the command line. To the proxy every name is this machine; no name is
looked up here.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

import pillion
from pillion.client import Forbidden, NeverSent, Retries, Untrusted
from tests.certificates import Authority
from tests.forward_proxy import ForwardProxy, forward_proxy
from tests.integration.server.process import served, write_config
from tests.ports import free_port
from tests.unit.cli.command import pillion as command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

HOST = "models.example"
ROW = [[5.1, 3.5, 1.4, 0.2]]
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def ca(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.crt"
    path.write_text(authority.pem)
    return path


@pytest.fixture(scope="module", params=["plain", "encrypted"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, iris: IrisModels, authority: Authority
) -> Iterator[tuple[ServerProcess, str]]:
    folder = tmp_path_factory.mktemp("behind")
    write_config(folder / "runtime.yaml", {"iris": iris.onnx})
    cert, key = authority.issue(host=HOST).write(folder, "server")
    secure = request.param == "encrypted"
    flags = ["--tls-server-cert", str(cert), "--tls-server-key", str(key)] if secure else []
    with served(folder, folder / "runtime.yaml", *flags) as process:
        yield process, "s" if secure else ""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwardProxy]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with forward_proxy() as proxy:
        yield proxy


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, server: tuple[ServerProcess, str]) -> str:
    process, secure = server
    return f"{request.param}{secure}://{HOST}:{process.ports[request.param]}"


def _tls(url: str, ca: Path) -> pillion.TLS | None:
    return pillion.TLS(ca=ca) if url.partition("://")[0].endswith("s") else None


@pytest.mark.parametrize("named", ["argument", "environment"])
async def test_a_server_is_reached_through_it(
    url: str, ca: Path, proxy: ForwardProxy, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named == "environment":
        monkeypatch.setenv("ALL_PROXY", proxy.url)
    given = proxy.url if named == "argument" else None
    with pillion.Client(url, tls=_tls(url, ca), proxy=given) as client:
        assert [0] == client.model("iris").predict(ROW, output="label").tolist()
    through = len(proxy.asked)
    async with pillion.AsyncClient(url, tls=_tls(url, ca), proxy=given) as client_:
        assert [0] == (await client_.model("iris").predict(ROW, output="label")).tolist()

    if url.startswith("https://"):
        with pillion.Client(url, proxy=given) as stranger, pytest.raises(Untrusted, match="name the CA"):
            stranger.models()

    assert 0 < through < len(proxy.asked)
    address = url.partition("://")[2]
    assert proxy.asked[0].startswith(f"GET {url}/" if url.startswith("http://") else f"CONNECT {address}")


def test_a_proxy_that_wants_a_login_says_so_and_gets_it(url: str, ca: Path, proxy: ForwardProxy) -> None:
    proxy.login = f"Basic {base64.b64encode(b'me:hush').decode()}"
    refusal = Forbidden if url.startswith("http://") else NeverSent
    with pillion.Client(url, tls=_tls(url, ca), proxy=proxy.url, retries=0) as client:
        with pytest.raises(refusal, match=r"407|proxy") as no:
            client.model("iris").metadata()
        assert "hush" not in str(no.value)
    with pillion.Client(url, tls=_tls(url, ca), proxy=proxy.url.replace("//", "//me:hush@")) as client:
        assert "iris" == client.model("iris").metadata()["name"]


def test_a_proxy_that_is_not_there_is_named(url: str, ca: Path) -> None:
    nobody = f"http://me:hush@127.0.0.1:{free_port()}"
    with (
        pillion.Client(url, tls=_tls(url, ca), proxy=nobody, retries=Retries(attempts=2, backoff=0)) as client,
        pytest.raises(NeverSent, match=r"through the proxy http://127\.0\.0\.1:") as no,
    ):
        client.model("iris").metadata()
    assert "hush" not in str(no.value)


def test_the_command_line_goes_through_it(server: tuple[ServerProcess, str], ca: Path, proxy: ForwardProxy) -> None:
    process, secure = server
    authority = ("--ca", str(ca)) if secure else ()
    done = command(
        *("predict", "iris", "--data", "[[5.1,3.5,1.4,0.2]]", *authority),
        *("--url", f"http{secure}://{HOST}:{process.ports['http']}"),
        env={"ALL_PROXY": proxy.url},
    )

    assert (0, '[{"label":0') == (done.returncode, done.stdout[:11]), done.stderr
    assert 1 == len(proxy.asked)
