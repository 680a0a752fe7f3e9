"""What goes on for a service whose manifest this release cannot read: its pods have a certificate that is good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources import InferenceService
from pillion_operator.builders.certificates import authorities_child
from pillion_operator.state.manifest import key_of
from pillion_operator.state.plan import Desired, Endpoints, ReplicaBounds

if TYPE_CHECKING:
    from pillion_operator.apply.children import ChildApplier
    from pillion_operator.reconcile.self_signed import SelfSigned
    from pillion_operator.state.observed import Observed

__all__ = ["keep_certificate"]


async def keep_certificate(self_signed: SelfSigned, applier: ChildApplier, observed: Observed) -> float | None:
    """Renew the certificate of `tls.selfSigned` that pods serve with; nothing else of the service is touched.

    Return the seconds after which to look again, None where there is none.

    Raises:
        ApiError: the API server could not be asked, or another writer was faster; try again.
    """
    service = _named_alike(observed)
    kept = await self_signed.keep(service, observed, secure=False, known=False)
    if kept is None:
        return None
    if kept.bundle:
        child = authorities_child(service, observed.service, kept)
        await applier.put(observed, Desired((child,), ReplicaBounds(0, 0), Endpoints("", "")))
    return kept.wait


def _named_alike(observed: Observed) -> InferenceService:
    """Return a service that can be read, of that name: what a certificate is for and belongs to follows from it."""
    key = key_of(observed.service)
    return InferenceService.from_api(
        {
            "apiVersion": observed.service.get("apiVersion"),
            "kind": observed.service.get("kind"),
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {"predictor": {"containers": [{"name": "unread", "image": "unread"}]}},
        }
    )
