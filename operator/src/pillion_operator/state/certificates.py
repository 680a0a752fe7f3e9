"""The certificate that the operator keeps for a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion_operator.state.observed import CertificateFacts
    from pillion_operator.state.plan import Problem

__all__ = ["KeptCertificate"]


@dataclass(frozen=True, slots=True)
class KeptCertificate:
    """What there is of it, or what is in its way.

    Attributes:
        wait: seconds after which to look again: nobody may watch Secrets.
        bundle: the CAs that clients are to trust, as PEM.
        facts: about the Secret.
        problem: what keeps it from being made.
        wanted: whether the manifest asks for it; else pods serve with it that are of a version before.
    """

    wait: float
    bundle: str = ""
    facts: CertificateFacts | None = None
    problem: Problem | None = None
    wanted: bool = True
