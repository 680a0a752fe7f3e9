"""Which InferenceServices of KServe are ours to serve. Two controllers must never work on one object."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import KSERVE_PREFIX
from pillion_operator.state.manifest import annotations_of, labels_of, value_at
from pillion_operator.state.names import MANAGED_LABEL

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Manifest

__all__ = ["KSERVE_WEBHOOK", "MODEL_MESH", "Claim", "KServeScope", "claim_of", "deployment_mode"]

#: The ValidatingWebhookConfiguration that every installation of KServe's controller brings.
KSERVE_WEBHOOK: Final = "inferenceservice.serving.kserve.io"
#: The mode in which KServe's controller leaves an InferenceService to another one.
MODEL_MESH: Final = "ModelMesh"
#: What KServe's controller sets on each InferenceService that it works on, before anything else.
_FINALIZER: Final = "inferenceservice.finalizers"
_MODE: Final = f"{KSERVE_PREFIX}deploymentMode"
#: Names of the one mode that there is here, as different releases of KServe write it.
_STANDARD: Final = ("Standard", "RawDeployment")
_TAKEN: Final = (
    f"KServe's controller works on it, as its finalizer {_FINALIZER} shows, so Pillion does not serve it; remove that "
    "controller, then the finalizer."
)
_CONTROLLER: Final = (
    f"KServe's controller is installed, as the ValidatingWebhookConfiguration {KSERVE_WEBHOOK} shows, and would work "
    "on it, so Pillion does not serve it; remove that controller with its webhooks, or create the object with the "
    f'label {MANAGED_LABEL}: "true" and the annotation {_MODE}: {MODEL_MESH}, by which KServe leaves it alone.'
)


class KServeScope(StrEnum):
    """Which InferenceServices of KServe are served."""

    LABELLED = "labelled"
    """Those with the label `serving.pillion.dev/managed: "true"`."""
    ALL = "all"
    """All but those with the label's value `"false"`."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose an InferenceService of KServe is.

    Attributes:
        ours: whether it is served here.
        given_up: whether what was made for it has to go, so that KServe's controller finds the names free.
        why: why it is not served although it was asked for; empty otherwise.
    """

    ours: bool = False
    given_up: bool = False
    why: str = ""


def claim_of(service: Manifest, scope: KServeScope, *, controller: bool) -> Claim:
    """Return whose the InferenceService is.

    Args:
        service: as stored.
        scope: what the installation says.
        controller: whether KServe's own controller is installed in the cluster.
    """
    label = labels_of(service).get(MANAGED_LABEL, "")
    if label != "true" and (scope is KServeScope.LABELLED or label == "false"):
        return Claim(given_up=True)
    finalizers = value_at(service, "metadata", "finalizers")
    if isinstance(finalizers, list) and _FINALIZER in finalizers:
        return Claim(given_up=True, why=_TAKEN)
    left_alone = label == "true" and annotations_of(service).get(_MODE) == MODEL_MESH
    if controller and not left_alone:
        return Claim(why=_CONTROLLER)
    return Claim(ours=True)


def deployment_mode(service: Manifest) -> str:
    """Return the mode as its manifest calls it: KServe's webhook refuses a status that has another word for it."""
    said = annotations_of(service).get(_MODE, "")
    return said if said in {*_STANDARD, MODEL_MESH} else _STANDARD[0]
