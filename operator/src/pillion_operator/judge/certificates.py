"""What is wrong with the certificates that a manifest names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pillion_operator.state.kinds import CERTIFICATE
from pillion_operator.state.manifest import condition_of, text_at
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.observed import CertificateFacts

__all__ = ["certificate_problems", "unready_certificate"]


def certificate_problems(certificates: Iterable[CertificateFacts], now: float) -> tuple[Problem, ...]:
    """Return a problem for each Secret that cannot serve."""
    found = (_problem(facts, now) for facts in certificates)
    return tuple(problem for problem in found if problem is not None)


def unready_certificate(live: Manifest) -> Problem | None:
    """Return what cert-manager says of a Certificate that is not ready.

    Source: cert-manager.io/v1 CertificateStatus.
    """
    ready = condition_of(live, "Ready")
    if ready.get("status") == "True":
        return None
    name = text_at(live, "metadata", "name")
    said = text_at(ready, "message") or "cert-manager has said nothing of it yet"
    location = f"{CERTIFICATE.name}/{name}"
    return Problem(Reason.CERTIFICATE_NOT_READY, f"{CERTIFICATE.name} {name!r} is not ready: {said}", location)


def _problem(facts: CertificateFacts, now: float) -> Problem | None:
    secret = f"Secret {facts.secret!r}"
    if not facts.found:
        return Problem(Reason.SECRET_NOT_FOUND, f"{secret}, named in predictor.tls, is not there", facts.secret)
    if facts.missing_keys:
        keys = " and ".join(facts.missing_keys)
        return Problem(Reason.CERTIFICATE_INVALID, f"{secret}, named in predictor.tls, lacks {keys}", facts.secret)
    if facts.invalid:
        return Problem(Reason.CERTIFICATE_INVALID, f"{secret}, named in predictor.tls: {facts.invalid}", facts.secret)
    if facts.not_after is not None and facts.not_after <= now:
        ended = datetime.fromtimestamp(facts.not_after, UTC).strftime("%Y-%m-%d %H:%M UTC")
        text = f"the certificate in {secret}, named in predictor.tls, expired at {ended}"
        return Problem(Reason.CERTIFICATE_EXPIRED, text, facts.secret)
    return None
