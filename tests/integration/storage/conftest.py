"""Real servers to fetch from: HTTP that fails on command, and S3 by rclone."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import obstore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from obstore.store import S3Store

from e2e.cluster.node import gotools
from pillion.storage import FetchOptions
from tests.integration.storage.faultyserver import FaultyServer
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEY, _SECRET = "pillion-access-key", "pillion-5ecret-key"

LOCAL = FetchOptions(allow_private_hosts=True, backoff_seconds=0.01)
"""Options for servers on loopback, with short pauses."""


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as started:
        yield started


@pytest.fixture
def other_server() -> Iterator[FaultyServer]:
    with FaultyServer() as started:
        yield started


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """A destination that does not exist yet."""
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither credentials nor proxies of the machine that the tests run on."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("AWS_", "GOOGLE_", "AZURE_", "S3_", "PILLION_STORAGE_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def own_address() -> str:
    """An address of this machine that is not loopback, as a Service of the cluster has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the interface
            found: str = probe.getsockname()[0]
        except OSError:
            found = "127.0.0.1"
    if found.startswith("127."):
        pytest.skip("this machine has no network interface but loopback")
    return found


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server with the bucket `models`."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": _KEY, "AWS_SECRET_ACCESS_KEY": _SECRET}

    def put(self, path: str, data: bytes) -> None:
        """Write an object of the bucket `models`, as a client does."""
        obstore.put(self._bucket, path.removeprefix("models/"), data)

    def delete(self, path: str) -> None:
        obstore.delete(self._bucket, path.removeprefix("models/"))

    @property
    def _bucket(self) -> S3Store:
        return S3Store(
            "models",
            endpoint=self.endpoint,
            access_key_id=_KEY,
            secret_access_key=_SECRET,
            client_options={"allow_http": True},
        )


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """rclone's S3 server: ``PILLION_RCLONE``, one on PATH, or the one that the cluster's tools are built with."""
    binary = os.environ.get("PILLION_RCLONE") or shutil.which("rclone") or str(gotools.ensure(["rclone"])["rclone"])
    root = tmp_path_factory.mktemp("s3")
    (root / "models").mkdir()  # its buckets are directories
    port = free_port()
    log = root.with_name("rclone.log")
    command = [
        binary,
        "serve",
        "s3",
        str(root),
        "--addr",
        f":{port}",
        "--auth-key",
        f"{_KEY},{_SECRET}",
        "--config",
        "/dev/null",
    ]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            endpoint = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(endpoint, process, log)
            yield S3Server(endpoint)
        finally:
            process.terminate()


@pytest.fixture
def s3(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, and the environment of a pod that may use it."""
    for name, value in s3_process.environment.items():
        monkeypatch.setenv(name, value)
    return s3_process


def _wait_until_it_answers(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        try:
            with urllib.request.urlopen(endpoint, timeout=60):
                return
        except urllib.error.HTTPError as answer:
            answer.close()
            return  # it answers, and wants a signature
        except OSError:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
    pytest.fail(f"the S3 server did not start: {log.read_text()}")


@pytest.fixture(scope="session")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority of the tests' own; beside it a certificate for localhost that it signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    root = _certificate(issuer, authority, ca=True).add_extension(
        x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        ),
        critical=True,
    )
    leaf = _certificate(subject, key, ca=False).issuer_name(issuer).add_extension(names, critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    leaf = leaf.add_extension(identifier, critical=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.issuer_name(issuer).sign(authority, hashes.SHA256()).public_bytes(pem))
    (folder / "tls.crt").write_bytes(leaf.sign(authority, hashes.SHA256()).public_bytes(pem))
    (folder / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "ca.pem"


def _certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=24))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


@pytest.fixture(scope="session")
def tls(ca_file: Path) -> ssl.SSLContext:
    """The server's side of TLS for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file.with_name("tls.crt"), ca_file.with_name("tls.key"))
    return context
