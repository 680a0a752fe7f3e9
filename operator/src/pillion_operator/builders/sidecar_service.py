"""An InferenceService in somebody else's pod: what of its manifest means nothing there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.state.manifest import text_at

if TYPE_CHECKING:
    from pillion.resources import InferenceService
    from pillion_operator.state.manifest import Manifest

__all__ = ["not_carried_over", "on_sockets"]

#: Fields that place or shape the service's own pods, in wire form.
_OF_OWN_PODS: Final = (
    "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "priorityClassName", "runtimeClassName",
    "schedulerName", "securityContext", "hostAliases", "dnsConfig", "dnsPolicy", "hostNetwork",
)  # fmt: skip


def on_sockets(service: InferenceService) -> InferenceService:
    """Return the service as it is behind unix sockets, which need no TLS and ask nobody: nothing leaves the pod, and
    who may connect is said by the pod's mounts. Nor does it make TrainingJobs: the pod's ServiceAccount is another's.
    """
    predictor = service.spec.predictor.model_copy(update={"tls": None, "jobs": None})
    return service.model_copy(update={"spec": service.spec.model_copy(update={"predictor": predictor, "auth": None})})


def not_carried_over(service: InferenceService, pod: Manifest) -> list[str]:
    """Return what the author of the pod should know, as the API server's warnings."""
    given = service.spec.predictor.to_api()
    warnings: list[str] = []
    ignored = [f"spec.predictor.{field}" for field in _OF_OWN_PODS if field in given]
    if ignored:
        warnings.append(
            f"of InferenceService {service.metadata.name!r} {', '.join(ignored)} concern its own pods only: set in "
            "this pod what it needs of them"
        )
    if service.spec.predictor.own_trainings is not None:
        warnings.append(
            f"spec.predictor.jobs of InferenceService {service.metadata.name!r} concerns its own pods only: ask those "
            "for trainings"
        )
    account = given.get("serviceAccountName") or given.get("serviceAccount")
    if account and account != (text_at(pod, "spec", "serviceAccountName") or "default"):
        warnings.append(
            f"the sidecar runs under this pod's ServiceAccount and not under {account!r} of InferenceService "
            f"{service.metadata.name!r}: its Secrets are used, a cloud role of it is not"
        )
    return warnings
