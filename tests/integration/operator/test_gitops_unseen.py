"""Objects in the time before the operator has looked: nobody who waits may take them for finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.gitops.seen import pods_are, ready, seen, until
from tests.integration.operator.harness import Api, inference_service, running

if TYPE_CHECKING:
    from pathlib import Path


def test_a_service_that_no_operator_has_seen_is_not_taken_for_ready(api: Api, namespace: str) -> None:
    api.create(namespace, inference_service())

    assert {"observedGeneration": -1} == (api.get("InferenceService", namespace, "iris") or {})["status"]
    assert ("InProgress", "Progressing") == seen(api, namespace)


def test_a_changed_service_is_in_progress_again_before_the_operator_has_looked(
    operator_kubeconfig: Path, api: Api, namespace: str, tmp_path: Path
) -> None:
    api.create(namespace, inference_service())
    with running(operator_kubeconfig, tmp_path / "log", lease_namespace="pillion-system") as process:
        process.wait_leading()
        pods_are(api, namespace, ready())
        until(api, namespace, Ready="True", Reconciling="False")

    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"timeout": 30}}})

    assert ("InProgress", "Progressing") == seen(api, namespace)
