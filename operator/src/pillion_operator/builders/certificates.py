"""Certificates that are made for a service: the operator's own, and those of cert-manager.

Source: cert-manager, API reference, cert-manager.io/v1.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import authority_config, serving_secret
from pillion_operator.builders.context import child_manifest
from pillion_operator.builders.tls import certificate_names, server_secret
from pillion_operator.state.kinds import CERTIFICATE, CONFIG_MAP, SECRET
from pillion_operator.state.manifest import array, key_of, texts_at, uid_of
from pillion_operator.state.names import certificate_name
from pillion_operator.state.plan import Child, Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.resources import InferenceService, JsonObject
    from pillion_operator.builders.serving_certificate import Material
    from pillion_operator.state.certificates import KeptCertificate
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.observed import CertificateFacts
    from pillion_operator.state.plan import Desired

__all__ = [
    "AUTHORITY_KEY",
    "authorities_child",
    "encoded",
    "in_the_way",
    "self_signed_name",
    "self_signed_secret",
    "texts_of",
    "with_certificate",
]

AUTHORITY_KEY: Final = "ca.crt"


def with_certificate(
    service: InferenceService,
    stored: Manifest,
    desired: Desired,
    kept: KeptCertificate | None,
    secrets: tuple[CertificateFacts, ...],
    kinds: frozenset[Kind],
    cluster_domain: str,
    away: frozenset[Kind] = frozenset(),
) -> Desired:
    """Return the plan with what makes the certificate that the manifest asks for; without pods where nothing may.

    Args:
        service: as parsed.
        stored: the same as stored.
        desired: the plan so far.
        kept: the operator's own certificate, where it is asked for.
        secrets: facts about the Secrets of the manifest's certificates.
        kinds: those of the optional kinds that the cluster has.
        cluster_domain: of cluster DNS.
        away: those of the optional kinds that do not answer, so that it may well have them.
    """
    tls = service.spec.predictor.tls
    if kept is not None and kept.bundle and not (kept.wanted and desired.complete):
        # Who asks pods that go on as they are has to learn of a new CA as well.
        desired = replace(desired, children=(authorities_child(service, stored, kept), *desired.children))
    if not desired.complete or tls is None or not desired.endpoints.secure:
        return desired
    child: Child | None = None
    problem: Problem | None = None
    if kept is not None and kept.wanted:
        problem = kept.problem
        child = authorities_child(service, stored, kept) if problem is None else None
    elif tls.cert_manager is not None:
        facts = next((one for one in secrets if one.secret == server_secret(service)), None)
        problem = _in_the_way(stored, facts)
        if problem is None and CERTIFICATE in away and facts is not None and facts.found:
            return desired  # It has been made, and pods go on whatever becomes of what serves the kind.
        problem = problem or _not_served(kinds, away)
        if problem is None:
            child = Child(CERTIFICATE, _certificate(service, stored, cluster_domain))
    if problem is not None:
        return replace(desired, children=(), problem=problem)
    return desired if child is None else replace(desired, children=(child, *desired.children))


def authorities_child(service: InferenceService, stored: Manifest, kept: KeptCertificate) -> Child:
    """Return the ConfigMap that tells clients whom to trust."""
    config = authority_config(key_of(stored).name)
    data: JsonObject = {"data": {AUTHORITY_KEY: kept.bundle}}
    return Child(CONFIG_MAP, child_manifest(service, uid_of(stored), CONFIG_MAP, config, data))


def self_signed_name(service: str) -> str:
    """Return the name of the Secret of the operator's own certificate."""
    return serving_secret(service, {"selfSigned": True})


def self_signed_secret(service: InferenceService, stored: Manifest, material: Material) -> Manifest:
    """Return the Secret of the operator's own certificate."""
    body: JsonObject = {"type": "kubernetes.io/tls", "data": encoded(material.as_data())}
    return child_manifest(service, uid_of(stored), SECRET, self_signed_name(key_of(stored).name), body)


def _certificate(service: InferenceService, stored: Manifest, cluster_domain: str) -> Manifest:
    tls = service.spec.predictor.tls
    asked = tls.cert_manager if tls else None
    names = certificate_names(service, stored, cluster_domain)
    addresses = [name for name in names if name in {"127.0.0.1", "::1"}]
    spec: JsonObject = {
        "secretName": server_secret(service),
        "issuerRef": asked.issuer_ref.to_api() if asked else {},
        "dnsNames": array([name for name in names if name not in addresses]),
        "ipAddresses": array(addresses),
        "usages": ["digital signature", "key encipherment", "server auth"],
        # A key as long as a certificate, so that what leaked once does not serve for ever.
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
    }
    if asked and asked.duration:
        spec["duration"] = asked.duration
    return child_manifest(service, uid_of(stored), CERTIFICATE, certificate_name(key_of(stored).name), {"spec": spec})


def _in_the_way(stored: Manifest, facts: CertificateFacts | None) -> Problem | None:
    """Say where the Secret is somebody else's: cert-manager would write over it."""
    if facts is None or not facts.found or facts.certificate == certificate_name(key_of(stored).name):
        return None
    return in_the_way(facts.secret)


def in_the_way(secret: str) -> Problem:
    """Return the problem of a Secret that is not ours to write."""
    text = f"Secret {secret!r} exists and does not belong to this InferenceService, so it was not touched"
    remedy = "delete or rename that Secret; or, where it holds the certificate to serve with, name it in tls.secretName"
    return Problem(Reason.NAME_CONFLICT, text, f"{SECRET.name}/{secret}", transient=False, remedy=remedy)


def _not_served(kinds: frozenset[Kind], away: frozenset[Kind]) -> Problem | None:
    if CERTIFICATE in kinds:
        return None
    if CERTIFICATE in away:
        text = f"no {CERTIFICATE.name} of {CERTIFICATE.api_version} is made yet: what serves them does not answer"
        return Problem(Reason.KIND_UNAVAILABLE, text, "spec.predictor.tls.certManager")
    text = f"this cluster serves no {CERTIFICATE.name} of {CERTIFICATE.api_version} to the operator"
    return Problem(Reason.CERTIFICATES_NOT_SERVED, text, "spec.predictor.tls.certManager", transient=False)


def texts_of(secret: Manifest) -> dict[str, str]:
    """Return a Secret's content as texts; what is none is left empty."""
    return {name: _decoded(value) for name, value in texts_at(secret, "data").items()}


def encoded(data: Mapping[str, str]) -> JsonObject:
    """Return texts as a Secret's content."""
    return {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
