"""TLS of both data ports, from files or inline PEM.

A value that starts with ``-----BEGIN`` is inline PEM, anything else is a path. Material is read and judged as a whole
(:func:`read`): a key that does not belong to its certificate, a certificate out of its time or an unreadable file is
one :class:`TlsError` with a sentence; nothing half-new is ever served.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.x509 import Certificate

    from pillion.server.settings import TlsSettings

__all__ = ["TlsConfig", "TlsError", "TlsMaterial", "context_of", "is_inline", "read"]


class TlsError(Exception):
    """Certificate, key or CA cannot be used. Names setting and file, never a value that is a secret."""


class TlsConfig(msgspec.Struct, frozen=True):
    """Where the material is: each a path or inline PEM. ``client_ca`` makes client certificates required."""

    cert: str
    key: str
    client_ca: str | None = None

    def __repr__(self) -> str:
        """Without the values, which may be keys."""
        return "TlsConfig()"

    @classmethod
    def of(cls, settings: TlsSettings) -> TlsConfig | None:
        """The settings' TLS; None is plaintext."""
        if settings.server.cert is None or settings.server.key is None:
            return None
        return cls(settings.server.cert, settings.server.key, settings.client.cert)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files to watch: inline values never change."""
        values = (self.cert, self.key, self.client_ca)
        return tuple(value for value in values if value is not None and not is_inline(value))


class TlsMaterial(msgspec.Struct, frozen=True):
    """What was read and found to fit together."""

    cert: bytes
    key: bytes
    client_ca: bytes | None
    not_after: dt.datetime
    """End of validity of our own certificate."""
    subject: str
    """For logs: subject and serial number."""

    def __repr__(self) -> str:
        """Without the key."""
        return f"TlsMaterial(subject={self.subject!r}, not_after={self.not_after.isoformat()})"


def is_inline(value: str) -> bool:
    """Whether a setting's value is PEM text rather than a path."""
    return value.lstrip().startswith("-----BEGIN")


def _bytes(setting: str, value: str) -> bytes:
    if is_inline(value):
        return value.encode()
    shown = value if "\n" not in value and len(value) < 512 else "(value not shown)"
    try:
        return Path(value).read_bytes()
    except FileNotFoundError:
        raise TlsError(
            f"{setting}: file not found: {shown} (inline PEM must start with -----BEGIN)",
        ) from None
    except OSError as error:
        raise TlsError(f"{setting}: cannot read {shown}: {error.strerror}") from None
    except ValueError:
        raise TlsError(f"{setting}: not a path: {shown}") from None


def read(config: TlsConfig, *, now: dt.datetime | None = None) -> TlsMaterial:
    """Read everything and check that it can be served.

    Raises:
        TlsError: missing, unreadable, not PEM, encrypted, not belonging together, expired or not valid yet.
    """
    cert = _bytes("tls.server.cert", config.cert)
    key = _bytes("tls.server.key", config.key)
    client_ca = None if config.client_ca is None else _bytes("tls.client.cert", config.client_ca)
    leaf = _certificates("tls.server.cert", cert)[0]
    _check_pair(leaf, key)
    _check_time(leaf, now or dt.datetime.now(dt.UTC))
    if client_ca is not None:
        _certificates("tls.client.cert", client_ca)
    subject = f"{leaf.subject.rfc4514_string() or 'no subject'} serial {leaf.serial_number:x}"
    return TlsMaterial(cert, key, client_ca, leaf.not_valid_after_utc, subject)


def _certificates(setting: str, pem: bytes) -> list[Certificate]:
    from cryptography import x509  # noqa: PLC0415 - start-up without TLS does not pay for it

    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise TlsError(f"{setting}: holds no certificate in PEM form: {str(error).split('.')[0]}") from None
    if not found:
        raise TlsError(f"{setting}: holds no certificate in PEM form")
    return found


def _check_pair(leaf: Certificate, key: bytes) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above

    try:
        private = serialization.load_pem_private_key(key, password=None)
    except TypeError:
        raise TlsError("tls.server.key: the key is encrypted: store it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsError("tls.server.key: holds no private key in PEM form") from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise TlsError(
            "tls.server.key does not belong to tls.server.cert: the pair is torn or mixed up; put both from one issue"
        )


def _check_time(leaf: Certificate, now: dt.datetime) -> None:
    if now > leaf.not_valid_after_utc:
        raise TlsError(f"tls.server.cert: expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it")
    if now < leaf.not_valid_before_utc:
        raise TlsError(
            f"tls.server.cert: not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: check the clock"
        )


def context_of(config: TlsConfig, material: TlsMaterial, protocol: str = "http/1.1") -> ssl.SSLContext:
    """A fresh server context for HTTP/1.1, or another ``protocol`` by its name in ALPN.

    With a client CA, clients must show a certificate, and sessions cannot be resumed: a resumed session is not checked
    again and would outlive a CA that was taken away.

    Raises:
        TlsError: OpenSSL refuses the material, or the files changed while they were read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    if material.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    try:
        if material.client_ca is not None:
            context.load_verify_locations(cadata=material.client_ca.decode("ascii", "replace"))
        with _path_of(config.cert, material.cert) as cert, _path_of(config.key, material.key) as key:
            context.load_cert_chain(cert, key)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"tls.server: OpenSSL refuses the material: {error.strerror or error}") from None
    if _bytes("tls.server.cert", config.cert) != material.cert or _bytes("tls.server.key", config.key) != material.key:
        raise TlsError("tls.server: the files changed while they were read")
    return context


@contextlib.contextmanager
def _path_of(value: str, pem: bytes) -> Iterator[str]:
    """The path itself; for inline PEM a private file (0600) that exists only while OpenSSL reads it."""
    if not is_inline(value):
        yield value
        return
    try:
        handle, path = tempfile.mkstemp(prefix="pillion-", suffix=".pem")
    except OSError as error:
        raise TlsError(
            f"tls: inline PEM needs a temporary file ({error.strerror}): mount a writable /tmp, or use paths"
        ) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        yield path
    finally:
        Path(path).unlink(missing_ok=True)
