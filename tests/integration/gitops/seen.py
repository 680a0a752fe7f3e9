"""What GitOps tools see of an object on the API server, and the kubelet's part in it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from tests.integration.gitops.tools import argo, flux, kstatus
from tests.integration.operator.harness import condition, eventually

if TYPE_CHECKING:
    from tests.integration.operator.harness import Api

__all__ = ["by_flux", "pods_are", "ready", "seen", "until"]


def seen(api: Api, namespace: str, kind: str = "InferenceService", name: str = "iris") -> tuple[str, str]:
    """What kstatus and Argo CD say of the object now."""
    found = api.get(kind, namespace, name)
    assert found is not None
    return kstatus(found)[0].status, argo(kind, found)[0].status


def by_flux(api: Api, namespace: str) -> str:
    """What Flux says of the service now, where it is given the guide's expressions."""
    found = api.get("InferenceService", namespace, "iris")
    assert found is not None
    return flux(found)[0].status


def until(api: Api, namespace: str, *, kind: str = "InferenceService", name: str = "iris", **wanted: str) -> None:
    """Wait until conditions have these statuses, of the newest generation."""

    def look() -> bool:
        found = api.get(kind, namespace, name)
        if found is None or found.get("status", {}).get("observedGeneration") != found["metadata"]["generation"]:
            return False
        return all(condition(found, key).get("status") == value for key, value in wanted.items())

    eventually(look)


def pods_are(api: Api, namespace: str, status: dict[str, Any]) -> None:
    """Play the kubelet for every pod of the service."""
    selector = "serving.pillion.dev/inferenceservice=iris"
    for pod in eventually(lambda: api.list("Pod", namespace, labelSelector=selector)):
        name = pod["metadata"]["name"]
        api.patch("Pod", namespace, name, {"status": status}, subresource="status", manager="kubelet")


def ready() -> dict[str, Any]:
    since = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}
