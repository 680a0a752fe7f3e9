"""What to do about a field that has no effect in this release, or that there is none like here."""

from __future__ import annotations

from typing import Final

__all__ = ["REMEDIES", "UNMAPPED", "remedy_for"]

_DEFAULT: Final = "remove the line, or accept that it has no effect in this release"

_SCALE: Final = (
    "scale on cpu or memory, or annotate it serving.pillion.dev/autoscalerClass: external and point an autoscaler at "
    "the Deployment {name}-predictor"
)

_FILES: Final = "put the files into the image, or mount them by volumes"

#: By the field's address below `spec`, the most exact one counts.
REMEDIES: Final[dict[str, str]] = {
    "canary": (
        "apply this without canary first, and once that is rolled out the canary's predictor in place of "
        "spec.predictor, with its trafficPercent as canaryTrafficPercent"
    ),
    "explainer.art": "name an image of it in containers, with the arguments that it takes",
    **{
        f"{component}.{field}": remedy
        for component in ("transformer", "explainer")
        for field, remedy in (
            ("storage", _FILES),
            ("storageUris", _FILES),
            ("storageContainerName", _FILES),
            ("canaryTrafficPercent", "shares are the predictor's: set it there"),
            ("tls", "let TLS end at the Gateway or the Ingress"),
            ("minReplicas", "set minReplicas: 1; only the predictor may have no pod"),
        )
    },
    "predictor.minReplicas": 'set minReplicas: 1, or annotate it serving.pillion.dev/stop: "true" while nobody asks',
    "predictor.maxReplicas": _SCALE,
    "predictor.scaleTarget": _SCALE,
    "predictor.scaleMetric": _SCALE,
    "predictor.scaleMetricType": _SCALE,
    "predictor.autoScaling": _SCALE,
    "predictor.logger.storage": "name a sink in logger.url that writes the events to the store",
    "predictor.logger.marshallerUrl": "name it, or a sink in front of it, in logger.url",
    "predictor.logger.batchSize": "events are sent one by one; gather them in the sink",
    "predictor.logger.batchInterval": "events are sent one by one; gather them in the sink",
    "predictor.storageContainerName": "give the credentials to the ServiceAccount; the storage step is Pillion's own",
    "predictor.workerSpec": "serve it with a model that fits one pod",
    "predictor.name": "children are named {name}-predictor",
}

#: By the address of an annotation.
_ANNOTATIONS: Final[dict[str, str]] = {
    "metadata.annotations[security.opendatahub.io/enable-auth]": "add spec.auth: {{serviceAccount: {{}}}}, or everybody"
    " who reaches {name}-predictor may ask; callers need the right to create inferenceservices/predict",
}

#: Fields of KServe, present or past, that have no counterpart here, by their last name.
UNMAPPED: Final[dict[str, tuple[str, str]]] = {
    "alibi": ("explainers of Alibi are not started", "deploy the explainer by itself"),
    "aix": ("explainers of AIX are not started", "deploy the explainer by itself"),
    "custom": ("is of KFServing's time", "write its container under predictor.containers"),
    "ephemeralContainers": ("a template cannot have them", "use kubectl debug on a pod"),
}


def remedy_for(address: str, name: str) -> str:
    """Return what to do about the field at `address`, such as `spec.predictor.workerSpec`, of the service `name`."""
    if address in _ANNOTATIONS:
        return _ANNOTATIONS[address].format(name=name)
    parts = address.removeprefix("spec.").partition(" ")[0].split(".")
    for length in range(len(parts), 0, -1):
        found = REMEDIES.get(".".join(parts[:length]))
        if found:
            return found.format(name=name)
    return _DEFAULT
