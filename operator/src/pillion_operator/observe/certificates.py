"""Reading a TLS Secret: which keys it has, whether they fit together, and until when it is valid."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pillion_operator.state.manifest import annotations_of, texts_at
from pillion_operator.state.observed import CertificateFacts

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Manifest

__all__ = ["authority_facts", "server_facts"]

#: Source: cert-manager, annotations of Secrets.
_MADE_FOR: Final = "cert-manager.io/certificate-name"


def server_facts(name: str, secret: Manifest | None) -> CertificateFacts:
    """Return the facts about a Secret with `tls.crt` and `tls.key`."""
    if secret is None:
        return CertificateFacts(name, found=False)
    return replace(_pair_facts(name, secret), certificate=annotations_of(secret).get(_MADE_FOR, ""))


def _pair_facts(name: str, secret: Manifest) -> CertificateFacts:
    data = texts_at(secret, "data")
    missing = tuple(key for key in ("tls.crt", "tls.key") if not data.get(key))
    if missing:
        return CertificateFacts(name, found=True, missing_keys=missing)
    try:
        chain = x509.load_pem_x509_certificates(_decoded(data["tls.crt"]))
    except ValueError:
        return CertificateFacts(name, found=True, invalid="tls.crt is not a certificate in PEM")
    try:
        key = load_pem_private_key(_decoded(data["tls.key"]), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return CertificateFacts(name, found=True, invalid="tls.key is not an unencrypted private key in PEM")
    of_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    of_certificate = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if of_key != of_certificate:
        return CertificateFacts(name, found=True, invalid="tls.key does not belong to tls.crt")
    return CertificateFacts(name, found=True, not_after=chain[0].not_valid_after_utc.timestamp())


def authority_facts(name: str, secret: Manifest | None) -> CertificateFacts:
    """Return the facts about a Secret whose `ca.crt` signs the clients' certificates."""
    if secret is None:
        return CertificateFacts(name, found=False)
    text = texts_at(secret, "data").get("ca.crt")
    if not text:
        return CertificateFacts(name, found=True, missing_keys=("ca.crt",))
    try:
        chain = x509.load_pem_x509_certificates(_decoded(text))
    except ValueError:
        return CertificateFacts(name, found=True, invalid="ca.crt is not a certificate in PEM")
    # Of several authorities one that is still good is enough.
    return CertificateFacts(name, found=True, not_after=max(ca.not_valid_after_utc.timestamp() for ca in chain))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
