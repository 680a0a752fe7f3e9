"""A service whose number of pods an autoscaler decides, and what is waited for."""

from __future__ import annotations

from typing import Any

from tests.integration.operator.harness import Api, condition, eventually, inference_service
from tests.integration.operator.kubelet import make_ready

SKLEARN = {"storageUri": "s3://models/iris"}


def create(api: Api, namespace: str, annotations: dict[str, str] | None = None, **predictor: Any) -> dict[str, Any]:
    created = api.create(namespace, inference_service(annotations=annotations, sklearn=SKLEARN, **predictor))
    eventually(lambda: api.get("Deployment", namespace, "iris-predictor"))
    return created


def change(api: Api, namespace: str, **predictor: Any) -> None:
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": predictor}})


def autoscaler(api: Api, namespace: str) -> dict[str, Any] | None:
    return api.get("HorizontalPodAutoscaler", namespace, "iris-predictor")


def replicas(api: Api, namespace: str) -> int:
    deployment = api.get("Deployment", namespace, "iris-predictor")
    return deployment["spec"]["replicas"] if deployment else -1


def scaling(api: Api, namespace: str, reason: str) -> dict[str, Any]:
    """The condition ScalingActive, once it has that reason; on a busy machine the controller takes its time."""

    def look() -> dict[str, Any] | None:
        found = condition(api.get("InferenceService", namespace, "iris"), "ScalingActive")
        return found if found.get("reason") == reason else None

    found = eventually(look)
    assert found is not None
    return found


def settled(api: Api, namespace: str, count: int) -> None:
    """Wait until the Deployment has seen its newest spec and has that many pods, all Ready."""

    def look() -> bool:
        make_ready(api, namespace)
        deployment = api.get("Deployment", namespace, "iris-predictor")
        assert deployment is not None
        status = deployment["status"]
        seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
        return bool(seen and status.get("readyReplicas") == count and deployment["spec"]["replicas"] == count)

    eventually(look)
