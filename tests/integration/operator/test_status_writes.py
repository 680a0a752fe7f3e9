"""A status is written to the object that it was found for, not to another of its name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pillion_operator.client.connection import from_kubeconfig
from pillion_operator.client.fence import OpenFence
from pillion_operator.client.kubernetes import KubernetesClient
from pillion_operator.report.status import StatusWriter
from tests.integration.operator.harness import Api, Object, eventually, inference_service

if TYPE_CHECKING:
    from e2e.cluster.node.apiserver import ControlPlane
    from pillion.resources.base import JsonObject


def written(cluster: ControlPlane, stored: Object, status: JsonObject) -> bool:
    async def write() -> bool:
        async with KubernetesClient(from_kubeconfig(cluster.kubeconfig), OpenFence()) as client:
            return await StatusWriter(client, lambda kind, manifest: None).write(stored, status)

    return asyncio.run(write())


def test_what_was_found_of_a_deleted_object_is_not_written_to_the_next_of_its_name(
    cluster: ControlPlane, api: Api, namespace: str
) -> None:
    former = api.create(namespace, inference_service("iris"))
    api.delete("InferenceService", namespace, "iris")
    eventually(lambda: api.get("InferenceService", namespace, "iris") is None)
    api.create(namespace, inference_service("iris"))

    assert not written(cluster, former, {"url": "https://former"})

    latter = api.get("InferenceService", namespace, "iris")
    assert latter is not None
    assert "url" not in latter.get("status", {})


def test_a_status_is_written_to_an_object_that_somebody_labelled_since(
    cluster: ControlPlane, api: Api, namespace: str
) -> None:
    stored = api.create(namespace, inference_service("iris"))
    api.patch("InferenceService", namespace, "iris", {"metadata": {"labels": {"team": "flowers"}}})

    assert written(cluster, stored, {"url": "https://iris"})

    found = api.get("InferenceService", namespace, "iris")
    assert found is not None
    assert "https://iris" == found["status"]["url"]
