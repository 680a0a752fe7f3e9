"""The built-in ClusterServingRuntimes: data that the leader applies, so that a bare cluster can serve.

They are ordinary objects: edit them, or make a ServingRuntime of the same format in a namespace, which comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import CLUSTER_SERVING_RUNTIME
from pillion_operator.state.names import BUILTIN_LABEL, FIELD_MANAGER, MANAGED_BY_LABEL, RUNTIME_CONTAINER

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject
    from pillion_operator.state.settings import RenderSettings

__all__ = ["builtin_runtimes"]

_FORMATS: Final = ("sklearn", "onnx", "xgboost", "lightgbm", "mlflow", "python")


def builtin_runtimes(settings: RenderSettings) -> tuple[JsonObject, ...]:
    """Return their manifests."""
    return tuple(_runtime(name, settings) for name in _FORMATS)


def _runtime(model_format: str, settings: RenderSettings) -> JsonObject:
    return {
        "apiVersion": CLUSTER_SERVING_RUNTIME.api_version,
        "kind": CLUSTER_SERVING_RUNTIME.name,
        "metadata": {
            "name": f"pillion-{model_format}",
            "labels": {BUILTIN_LABEL: "true", MANAGED_BY_LABEL: FIELD_MANAGER},
        },
        "spec": {
            "supportedModelFormats": [{"name": model_format, "autoSelect": True, "priority": 1}],
            "protocolVersions": ["v1", "v2", "grpc-v2"],
            "containers": [
                {
                    "name": RUNTIME_CONTAINER,
                    "image": settings.runtime_image,
                    "imagePullPolicy": settings.image_pull_policy,
                    "command": ["python", "-m", "pillion.server"],
                    "args": ["--config", "/etc/pillion/runtime.yaml"],
                }
            ],
        },
    }
