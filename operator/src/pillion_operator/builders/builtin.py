"""The built-in ClusterServingRuntimes: data that the leader applies, so that a bare cluster can serve.

They are ordinary objects: edit them, or make a ServingRuntime of the same format in a namespace, which comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.builders.image import variant
from pillion_operator.state.kinds import CLUSTER_SERVING_RUNTIME
from pillion_operator.state.names import BUILTIN_LABEL, FIELD_MANAGER, MANAGED_BY_LABEL, RUNTIME_CONTAINER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.resources.base import JsonObject
    from pillion_operator.state.settings import RenderSettings

__all__ = ["builtin_runtimes"]

_FORMATS: Final = ("sklearn", "onnx", "xgboost", "lightgbm", "mlflow", "python")
_HEAVY: Final[Mapping[str, tuple[str, ...]]] = {
    "torch": ("torch", "pytorch"),
    "huggingface": ("huggingface", "transformers", "sentence-transformers", "embeddings"),
}
"""Backends whose libraries are gigabytes, and so have an image each, `{tag}-torch`; and the formats that they serve."""
_HEAVY_REQUESTS: Final[Mapping[str, str]] = {"cpu": "500m", "memory": "1Gi"}
"""What a pod of such a backend asks for where the manifest says nothing: half of it holds the libraries alone."""


def builtin_runtimes(settings: RenderSettings) -> tuple[JsonObject, ...]:
    """Return their manifests; none of a heavy backend where the runtime's image has no tag to find its image by."""
    found = [_runtime(name, (name,), settings.runtime_image, settings) for name in _FORMATS]
    for backend, formats in _HEAVY.items():
        image = variant(settings.runtime_image, backend)
        if image is not None:
            found.append(_runtime(backend, formats, image, settings, _HEAVY_REQUESTS))
    return tuple(found)


def _runtime(
    name: str,
    formats: tuple[str, ...],
    image: str,
    settings: RenderSettings,
    requests: Mapping[str, str] | None = None,
) -> JsonObject:
    resources: JsonObject = {} if requests is None else {"resources": {"requests": dict(requests)}}
    return {
        "apiVersion": CLUSTER_SERVING_RUNTIME.api_version,
        "kind": CLUSTER_SERVING_RUNTIME.name,
        "metadata": {
            "name": f"pillion-{name}",
            "labels": {BUILTIN_LABEL: "true", MANAGED_BY_LABEL: FIELD_MANAGER},
        },
        "spec": {
            "supportedModelFormats": [{"name": one, "autoSelect": True, "priority": 1} for one in formats],
            "protocolVersions": ["v1", "v2", "grpc-v2"],
            "containers": [
                {
                    "name": RUNTIME_CONTAINER,
                    "image": image,
                    "imagePullPolicy": settings.image_pull_policy,
                    "command": ["python", "-m", "pillion.server"],
                    "args": ["--config", "/etc/pillion/runtime.yaml"],
                    **resources,
                }
            ],
        },
    }
