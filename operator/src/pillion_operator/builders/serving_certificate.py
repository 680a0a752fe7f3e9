"""A certificate authority and the certificate that it signs: what is kept of them, and the next step of their rotation.

The webhook has one of its own, and so has each service with `tls.selfSigned`. Who is to trust a CA learns of it a
while after it is written (the API server by the `caBundle`, clients by a ConfigMap), and so do those that serve. So
nothing is replaced in one step: a new CA is trusted beside the old one for `settle` seconds before it signs, and the
old one is trusted for as long afterwards.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SERVICE_TIMES", "CertificateTimes", "Material", "next_step", "of_secret"]

_AUTHORITY: Final = "pillion CA"
#: Clocks of machines differ; a certificate must not begin in the API server's future.
_BACKDATED: Final = dt.timedelta(minutes=5)
_UNUSABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm)
#: Shares of a life after which there is to be a successor.
_CA_SHARE, _CERTIFICATE_SHARE = 0.5, 2 / 3


@dataclass(frozen=True, slots=True)
class CertificateTimes:
    """Lives in seconds, and how long everybody may take to learn of a change."""

    ca: float = 365 * 86400.0
    certificate: float = 90 * 86400.0
    settle: float = 30.0


#: Of a service. Clients of a service are many, and some read its CA only when they start.
SERVICE_TIMES: Final = CertificateTimes(ca=5 * 365 * 86400.0, settle=7 * 86400.0)


@dataclass(frozen=True, slots=True)
class Material:
    """What a Secret keeps, as PEM texts.

    Attributes:
        authorities: every CA that is trusted, the newest first.
        ca_key: the key of the newest.
        certificate: what is served, by one of them; empty until the newest may sign one.
        key: its key.
    """

    authorities: tuple[str, ...]
    ca_key: str
    certificate: str
    key: str

    def __repr__(self) -> str:
        """Without the keys."""
        return f"Material({len(self.authorities)} authorities)"

    @property
    def bundle(self) -> str:
        """All that is trusted, in one text."""
        return "".join(self.authorities)

    @property
    def names(self) -> tuple[str, ...]:
        """What the certificate is for."""
        return tuple(sorted(_of(x509.load_pem_x509_certificate(self.certificate.encode())))) if self.certificate else ()

    def as_data(self) -> dict[str, str]:
        """Return the Secret's content."""
        return {"ca.crt": self.bundle, "ca.key": self.ca_key, "tls.crt": self.certificate, "tls.key": self.key}


def of_secret(data: Mapping[str, str]) -> Material | None:
    """Return what a Secret keeps; None where there is no CA of ours. A certificate that cannot be used is left out."""
    try:
        authorities = _certificates(data.get("ca.crt", ""))
        _belongs(data.get("ca.key", ""), authorities[0])
    except (IndexError, *_UNUSABLE):
        return None
    kept = Material(tuple(map(_pem, authorities)), data["ca.key"], "", "")
    try:
        certificate = x509.load_pem_x509_certificate(data.get("tls.crt", "").encode())
        _belongs(data.get("tls.key", ""), certificate)
    except _UNUSABLE:
        return kept
    return replace(kept, certificate=_pem(certificate), key=data["tls.key"])


def next_step(
    kept: Material | None,
    trusted: str,
    names: Sequence[str],
    times: CertificateTimes,
    now: dt.datetime,
    *,
    urgent: bool = False,
) -> Material | None:
    """Return what is to be kept from now on; None where all is well, or has to settle.

    `trusted` is what those who connect have been told to trust, `names` what the certificate is for. What is lost is
    replaced in the same steps: whatever is served still goes on to be trusted for a while. `urgent` does not wait with
    a certificate where there is none that is good: without the Secret no pod starts.
    """
    authorities = [] if kept is None else _certificates(kept.bundle)
    if kept is None or _over(authorities[0], now):
        text, key = _authority(times, now)
        return Material((text, *_alive(trusted, now)), key, "", "")
    newest, settle = authorities[0], dt.timedelta(seconds=times.settle)
    told = _pem(newest).strip() in trusted
    settled = told and (len(authorities) == 1 or _age(newest, now) >= settle)
    certificate = x509.load_pem_x509_certificate(kept.certificate.encode()) if kept.certificate else None
    if urgent and (certificate is None or _over(certificate, now)):
        return _signed_anew(kept, names, times, now)
    if certificate is None or _over(certificate, now) or not _signed(certificate, newest):
        return _signed_anew(kept, names, times, now) if settled else None
    if _of(certificate) != _wanted(names) or _worn(certificate, _CERTIFICATE_SHARE, now):
        return _signed_anew(kept, names, times, now)
    if _worn(newest, _CA_SHARE, now):
        text, key = _authority(times, now)
        return replace(kept, authorities=(text, *kept.authorities), ca_key=key)
    if len(authorities) > 1 and _age(certificate, now) >= settle:
        return replace(kept, authorities=kept.authorities[:1])
    return None


def _certificates(bundle: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(bundle.encode())


def _alive(bundle: str, now: dt.datetime) -> tuple[str, ...]:
    """Return the CAs of a bundle that can still be trusted."""
    try:
        return tuple(_pem(found) for found in _certificates(bundle) if not _over(found, now))
    except ValueError:
        return ()


def _authority(times: CertificateTimes, now: dt.datetime) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own: verifiers look a CA up by its name first.
    serial = x509.random_serial_number()
    name = _name(f"{_AUTHORITY} {serial:x}"[:60])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        _builder(name, name, key.public_key(), times.ca, now)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(made), _key_pem(key)


def _signed_anew(kept: Material, names: Sequence[str], times: CertificateTimes, now: dt.datetime) -> Material:
    """Return the material with a certificate by the newest CA."""
    ca = x509.load_pem_x509_certificate(kept.authorities[0].encode())
    ca_key = _curve_key(kept.ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    # No certificate outlives who vouches for it.
    life = min(times.certificate, (ca.not_valid_after_utc - now).total_seconds())
    made = (
        _builder(_name(names[0][:60]), ca.subject, key.public_key(), life, now)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return replace(kept, certificate=_pem(made), key=_key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: float, now: dt.datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.not_valid_before(now - _BACKDATED).not_valid_after(now + dt.timedelta(seconds=life))


def _general(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _curve_key(text: str) -> ec.EllipticCurvePrivateKey:
    """Return a key as we make them; ValueError for any other."""
    key = load_pem_private_key(text.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is none of ours")  # noqa: TRY004 - as what the library raises of a text that is none
    return key


def _belongs(key: str, certificate: x509.Certificate) -> None:
    """Raise ValueError where the key is not the certificate's."""
    if _curve_key(key).public_key() != certificate.public_key():
        raise ValueError("the key does not belong to the certificate")


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - each way not to be signed has an exception of its own
        return False
    return True


def _wanted(names: Sequence[str]) -> set[str]:
    return {str(name.value) for name in _general(names)}


def _of(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in found.value}


def _age(certificate: x509.Certificate, now: dt.datetime) -> dt.timedelta:
    return now - certificate.not_valid_before_utc - _BACKDATED


def _over(certificate: x509.Certificate, now: dt.datetime) -> bool:
    return certificate.not_valid_after_utc <= now


def _worn(certificate: x509.Certificate, share: float, now: dt.datetime) -> bool:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc - _BACKDATED
    return _age(certificate, now) >= share * life
