"""Who is believed where nobody is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

import pillion
from pillion.client.tls import system_authorities
from pillion.protocol.protos import open_inference_pb2 as pb
from tests.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's, with nobody in it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    return tmp_path


def test_the_file_and_the_folder_of_the_system_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert system_authorities() is None
    (folder / "01234567.0").write_bytes(b"one")
    (folder / "other.pem").write_bytes(b"not looked at")
    assert system_authorities() == b"one"
    (folder / "ca.crt").write_bytes(b"two")
    assert system_authorities() == b"two\none"
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "/some/file")
    assert system_authorities() is None


@pytest.fixture
def ours(folder: Path) -> Iterator[tuple[Authority, str]]:
    """A server over TLS, whose authority nobody believes yet."""
    authority = Authority()
    cert, key = authority.issue().write(folder, "server")
    ready = grpc.unary_unary_rpc_method_handler(
        lambda _request, _context: pb.ServerReadyResponse(ready=True),
        request_deserializer=pb.ServerReadyRequest.FromString,
        response_serializer=pb.ServerReadyResponse.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ServerReady": ready})
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((service,))
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            yield authority, f"grpcs://localhost:{port}"
        finally:
            server.stop(None).wait()


def test_grpc_believes_whom_the_system_believes(folder: Path, ours: tuple[Authority, str]) -> None:
    authority, url = ours
    (folder / "ca.crt").write_text(Authority("another CA").pem)
    with pillion.Client(url, retries=0) as client:
        assert not client.ready()
    (folder / "ca.crt").write_text(authority.pem)
    with pillion.Client(url, retries=0) as client:
        client.wait_ready(30)
