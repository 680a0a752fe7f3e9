"""Annotations and labels that change how an InferenceService is served: ours, and those of KServe and Knative.

An annotation is read under our prefix first, then under KServe's, so that manifests keep working when only their
`apiVersion` changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources.base import GROUP
from pillion.resources.honoured import UnhonouredField

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from pillion.resources.metadata import ObjectMeta

PREFIX = f"{GROUP}/"
KSERVE_PREFIX = "serving.kserve.io/"

#: Annotations, without their prefix, that this release acts on.
HONOURED_ANNOTATIONS = frozenset(
    {"deploymentMode", "stop", "paused", "enable-prometheus-scraping", "autoscalerClass", "storage-initializer-uid"}
)

#: The addresses of those that are read under our prefix alone: KServe has none of their names.
_OWN_ANNOTATIONS = frozenset({f"metadata.annotations[{PREFIX}models-consent]"})

#: Annotations of Secrets with credentials, without their prefix, that reach the storage step.
HONOURED_SECRET_ANNOTATIONS = frozenset(
    {
        "s3-endpoint",
        "s3-usehttps",
        "s3-verifyssl",
        "s3-region",
        "s3-usevirtualbucket",
        "s3-useanoncredential",
        "s3-cabundle-configmap",
    }
)

_STORAGE_USER = "storage-initializer-uid"
_DEPLOYMENT_MODES = frozenset({"Standard", "RawDeployment"})
#: Values of `autoscalerClass` that leave the number of replicas to somebody else, or to nobody.
NO_AUTOSCALER = frozenset({"none", "external"})
_AUTOSCALERS = NO_AUTOSCALER | {"hpa"}
#: Of Open Data Hub's KServe: asks callers for tokens.
_OTHERS_AUTH = "security.opendatahub.io/enable-auth"
_FOREIGN = ("autoscaling.knative.dev/", "networking.knative.dev/", "serving.knative.dev/", "networking.kserve.io/")


def serving_secret(service: str, tls: Mapping[str, JsonValue]) -> str:
    """Return the name of the Secret that a service serves with, empty where it speaks no TLS.

    Args:
        service: the InferenceService's name.
        tls: `spec.predictor.tls` as in the manifest.
    """
    if tls.get("secretName"):
        return str(tls["secretName"])
    # Each has a name of its own: the one is the operator's to write, the other cert-manager's.
    if tls.get("certManager") is not None:
        return f"{service}-predictor-certificate"
    return f"{service}-predictor-tls" if tls.get("selfSigned") is True else ""


def authority_config(service: str) -> str:
    """Return the name of the ConfigMap with the CA (`ca.crt`) of a service whose certificate the operator makes."""
    return f"{service}-predictor-ca"


def annotation(metadata: ObjectMeta, name: str) -> str | None:
    """Return an annotation by its name without prefix, ours before KServe's."""
    annotations = metadata.annotations or {}
    return annotations.get(PREFIX + name, annotations.get(KSERVE_PREFIX + name))


def is_stopped(metadata: ObjectMeta) -> bool:
    """Return whether the annotation `stop` asks for no pods."""
    return (annotation(metadata, "stop") or "").lower() == "true"


def is_paused(metadata: ObjectMeta) -> bool:
    """Return whether the annotation `paused` keeps new versions from going on."""
    return (annotation(metadata, "paused") or "").lower() == "true"


def storage_user(metadata: ObjectMeta) -> int | None:
    """Return the user that the storage step runs as, where the annotation `storage-initializer-uid` names one.

    With Istio's CNI a step that comes before the proxy reaches the network only as the proxy's user, 1337.
    """
    return _user(annotation(metadata, _STORAGE_USER) or "")


def _user(text: str) -> int | None:
    """The number of a user that is not root; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and 0 < int(text) < 2**31 else None


def unhonoured_annotations(metadata: ObjectMeta) -> list[UnhonouredField]:
    """Return the annotations and labels that mean something to KServe or Knative and nothing here, by their address."""
    return [
        *_of("metadata.annotations", metadata.annotations or {}),
        *_of("metadata.labels", metadata.labels or {}),
    ]


def _of(address: str, entries: Mapping[str, str]) -> Iterator[UnhonouredField]:
    for key, value in entries.items():
        field = f"{address}[{key}]"
        name = key.removeprefix(PREFIX).removeprefix(KSERVE_PREFIX)
        if key == _OTHERS_AUTH and value.lower() == "true":
            yield UnhonouredField(field, "say in spec.auth who may ask")
        elif key.startswith(_FOREIGN):
            yield UnhonouredField(field, "there is no Knative here")
        elif name == key or field in _OWN_ANNOTATIONS:
            continue
        elif name not in HONOURED_ANNOTATIONS:
            yield UnhonouredField(field)
        elif name == "deploymentMode" and value not in _DEPLOYMENT_MODES:
            yield UnhonouredField(field, "the mode is always Standard")
        elif name == "autoscalerClass" and value not in _AUTOSCALERS:
            yield UnhonouredField(field, "it is hpa, none or external")
        elif name == _STORAGE_USER and _user(value) is None:
            yield UnhonouredField(field, "it is the number of a user, and not root's")


__all__ = [
    "HONOURED_ANNOTATIONS",
    "HONOURED_SECRET_ANNOTATIONS",
    "KSERVE_PREFIX",
    "NO_AUTOSCALER",
    "PREFIX",
    "annotation",
    "authority_config",
    "is_paused",
    "is_stopped",
    "serving_secret",
    "storage_user",
    "unhonoured_annotations",
]
