"""A certificate authority for a test: server and client certificates as Secrets hold them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: str
    key: str
    #: In lower-case hexadecimal, as loadgen counts by.
    serial: str


class Authority:
    """Signs certificates; made anew for each test."""

    def __init__(self, name: str = "pillion-e2e") -> None:
        """Make a key and a self-signed certificate."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate(self) -> str:
        """The authority's own certificate: what clients trust."""
        return self._certificate.public_bytes(_PEM).decode()

    def server(self, names: Sequence[str], *, expires_in: dt.timedelta = dt.timedelta(days=1)) -> Pair:
        """Return a server's certificate for DNS names; a negative `expires_in` makes one that has expired."""
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        return self._sign(names[0], alternatives, ExtendedKeyUsageOID.SERVER_AUTH, expires_in)

    def client(self, name: str) -> Pair:
        """Return a client's certificate."""
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name)])
        return self._sign(name, alternatives, ExtendedKeyUsageOID.CLIENT_AUTH, dt.timedelta(days=1))

    def _sign(
        self,
        name: str,
        alternatives: x509.SubjectAlternativeName,
        purpose: x509.ObjectIdentifier,
        expires_in: dt.timedelta,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, now + expires_in) - dt.timedelta(hours=1))
            .not_valid_after(now + expires_in)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(alternatives, critical=False)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Pair(certificate.public_bytes(_PEM).decode(), private.decode(), f"{certificate.serial_number:x}")


def service_names(service: str, namespace: str) -> list[str]:
    """Return the DNS names under which pods reach a Service."""
    short = f"{service}.{namespace}.svc"
    return [f"{short}.cluster.local", short, f"{service}.{namespace}", service]


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
