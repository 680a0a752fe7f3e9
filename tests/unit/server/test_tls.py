"""What is said of certificates that cannot be served."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from pillion.server.tls import TlsConfig, TlsError, context_of, is_inline, read
from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from tests.certificates import Issued

CA = Authority()
GOOD = CA.issue()


def sentence(config: TlsConfig) -> str:
    with pytest.raises(TlsError) as error:
        context_of(config, read(config))
    assert "MII" not in str(error.value)
    return str(error.value)


def test_files_and_inline_pem_can_be_mixed(tmp_path: Path) -> None:
    cert, key = GOOD.write(tmp_path)
    for config in (
        TlsConfig(str(cert), str(key)),
        TlsConfig(GOOD.cert, GOOD.key),
        TlsConfig(str(cert), GOOD.key, CA.pem),
    ):
        context = context_of(config, read(config))
        assert (ssl.CERT_REQUIRED if config.client_ca else ssl.CERT_NONE) is context.verify_mode


def test_only_text_that_begins_like_pem_is_inline() -> None:
    assert is_inline("\n-----BEGIN CERTIFICATE-----")
    assert not is_inline("/etc/tls.crt")


def test_a_mistyped_path_is_a_file_not_found() -> None:
    assert "tls.server.cert: file not found: /none.crt" in sentence(TlsConfig("/none.crt", GOOD.key))


def test_text_that_is_neither_pem_nor_a_path_is_not_repeated() -> None:
    mangled = GOOD.key.replace("-----BEGIN", "----BEGIN")
    assert "tls.server.key" in sentence(TlsConfig(GOOD.cert, mangled))


def test_material_that_does_not_fit_is_told_apart(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("hello")
    private = serialization.load_pem_private_key(GOOD.key.encode(), None)
    locked = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    ).decode()
    assert "does not belong to" in sentence(TlsConfig(GOOD.cert, CA.issue().key))
    assert "expired" in sentence(TlsConfig(*_pair(CA.issue(days=-0.5))))
    assert "not valid before" in sentence(TlsConfig(*_pair(CA.issue(began=0.5))))
    assert "no certificate" in sentence(TlsConfig(str(junk), GOOD.key))
    assert "no private key" in sentence(TlsConfig(GOOD.cert, str(junk)))
    assert "encrypted" in sentence(TlsConfig(GOOD.cert, locked))
    assert "tls.client.cert" in sentence(TlsConfig(GOOD.cert, GOOD.key, str(junk)))


def test_a_read_only_temporary_folder_says_what_to_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    assert "mount a writable /tmp, or use paths" in sentence(TlsConfig(GOOD.cert, GOOD.key))


def test_nothing_secret_is_in_the_representation() -> None:
    config = TlsConfig(GOOD.cert, GOOD.key)
    assert "BEGIN" not in repr(config)
    assert "PRIVATE" not in repr(read(config))


def _pair(issued: Issued) -> tuple[str, str]:
    return issued.cert, issued.key
