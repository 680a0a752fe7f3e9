"""Certificates that change, servers that restart, and what a base install has."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import pillion
from pillion.client import NeverSent, Retries
from tests.certificates import Authority
from tests.integration.server.process import environment, served, write_config
from tests.ports import free_port
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels

ROW = [[5.1, 3.5, 1.4, 0.2]]


@pytest.fixture
def config(tmp_path: Path, iris: IrisModels) -> Path:
    path = tmp_path / "runtime.yaml"
    write_config(path, {"iris": iris.onnx})
    return path


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
async def test_certificates_of_both_sides_are_read_again_when_they_change(
    tmp_path: Path, config: Path, scheme: str
) -> None:
    ours, other = Authority(), Authority("another CA")
    cert, key = ours.issue().write(tmp_path, "server")
    ca = tmp_path / "ca.crt"
    ca.write_text(ours.pem)
    mine, my_key = other.issue().write(tmp_path, "client")  # of a CA that the server does not know
    flags = ["--tls-server-cert", str(cert), "--tls-server-key", str(key), "--tls-client-cert", str(ca)]
    with served(tmp_path, config, *flags, ready=False) as server:
        server.wait_bound()
        url = server.url(port="http" if scheme == "https" else "grpc", scheme=scheme).replace("127.0.0.1", "localhost")
        tls = pillion.TLS(ca=ca, cert=mine, key=my_key, reload=0.01)
        policy = Retries(attempts=1)
        with pillion.Client(url, tls=tls, retries=policy) as client:
            assert not client.ready()
            ours.issue().write(tmp_path, "client")  # now one that it knows
            client.wait_ready(30)
            assert [0] == client.model("iris").predict(ROW, output="label").tolist()
        async with pillion.AsyncClient(url, tls=tls, retries=policy) as client_:
            await client_.wait_ready(30)
            assert [0] == (await client_.model("iris").predict(ROW, output="label")).tolist()
            ours.issue().write(tmp_path, "client")
            assert [0] == (await client_.model("iris").predict(ROW, output="label")).tolist()
        with pillion.Client(url, retries=policy) as stranger, pytest.raises(NeverSent):
            stranger.model("iris").metadata()


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
async def test_the_ca_that_is_believed_is_read_again_when_its_file_changes(
    tmp_path: Path, config: Path, scheme: str
) -> None:
    ours, other = Authority(), Authority("another CA")
    cert, key = ours.issue().write(tmp_path, "server")
    ca = tmp_path / "ca.crt"
    ca.write_text(other.pem)
    with served(tmp_path, config, "--tls-server-cert", str(cert), "--tls-server-key", str(key), ready=False) as server:
        server.wait_bound()
        url = server.url(port="http" if scheme == "https" else "grpc", scheme=scheme).replace("127.0.0.1", "localhost")
        tls = pillion.TLS(ca=ca, reload=0.01)
        policy = Retries(attempts=1)
        with pillion.Client(url, tls=tls, retries=policy) as client:
            with pytest.raises(NeverSent):
                client.model("iris").metadata()
            ca.write_text(ours.pem)
            client.wait_ready(30)
            assert [0] == client.model("iris").predict(ROW, output="label").tolist()
            ca.write_text(other.pem)
            await until(lambda: not client.ready())
        async with pillion.AsyncClient(url, tls=tls, retries=policy) as client_:
            with pytest.raises(NeverSent):
                await client_.model("iris").metadata()
            ca.write_text(ours.pem)
            await client_.wait_ready(30)
            assert [0] == (await client_.model("iris").predict(ROW, output="label")).tolist()


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
async def test_the_certificate_may_be_for_another_name_than_the_way_there(
    tmp_path: Path, config: Path, scheme: str
) -> None:
    authority, name = Authority(), "iris-predictor.models.svc"
    cert, key = authority.issue(host=name).write(tmp_path, "server")
    ca = tmp_path / "ca.crt"
    ca.write_text(authority.pem)
    with served(tmp_path, config, "--tls-server-cert", str(cert), "--tls-server-key", str(key)) as server:
        url = server.url(port="http" if scheme == "https" else "grpc", scheme=scheme)
        tls = pillion.TLS(ca=ca, server_name=name)
        with pillion.Client(url, tls=tls) as client:
            assert "iris" == client.model("iris").metadata()["name"]
        async with pillion.AsyncClient(url, tls=tls) as client_:
            assert "iris" == (await client_.model("iris").metadata())["name"]
        with pillion.Client(url, tls=pillion.TLS(ca=ca), retries=0) as client, pytest.raises(NeverSent):
            client.model("iris").metadata()


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"TLS: ca: no such file: .*ca\.crt"):
        pillion.TLS(ca=tmp_path / "ca.crt")
    with pytest.raises(ValueError, match="belong together"):
        pillion.TLS(cert=__file__)
    with pytest.raises(ValueError, match="write https://"):
        pillion.Client("http://127.0.0.1:1", tls=pillion.TLS())


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_client_outlives_its_server(tmp_path: Path, config: Path, scheme: str) -> None:
    own = (f"--{scheme}-port", str(free_port()))  # that nobody takes between the two
    with served(tmp_path, config, *own) as server:
        url = server.url(port=scheme, scheme=scheme)
        client = pillion.Client(url)
        assert [0] == client.model("iris").predict(ROW, output="label").tolist()
    assert not client.ready()
    with client, served(tmp_path, config, *own):
        client.wait_ready(60)
        assert [0] == client.model("iris").predict(ROW, output="label").tolist()


_BASE = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numpy", "pandas", "PIL", "grpc", "google", "fastapi", "uvicorn", "orjson"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import pillion
lean = sorted(name for name in sys.modules if name.startswith("httpx") or name.startswith("pillion."))
with pillion.Client(sys.argv[1]) as client:
    rows = client.predict([[5.1, 3.5, 1.4, 0.2]], model="iris")
    models = client.models()
try:
    pillion.Client("grpc://127.0.0.1:1")
except ImportError as error:
    remedy = str(error)
print(json.dumps([lean, rows[0]["label"], models, remedy]))
"""


def test_the_base_install_is_enough_and_the_import_stays_lean(urls: dict[str, str]) -> None:
    command = [sys.executable, "-c", _BASE, urls["http"]]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert not done.stderr
    lean, label, models, remedy = json.loads(done.stdout)
    assert ["pillion._version"] == lean
    assert (0, {"iris", "labels"}) == (label, set(models))
    assert "pip install 'pillion[serve]'" in remedy
