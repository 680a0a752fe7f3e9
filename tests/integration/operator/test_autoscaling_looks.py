"""What an autoscaler's looks cost. In a module of its own: the operator counted here sees nothing but this service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pillion_operator.rbac import manifests
from tests.integration.operator.harness import Api, OperatorProcess, apply, condition, eventually, running
from tests.integration.operator.kubelet import metrics_served, use_cpu
from tests.integration.operator.scaled import autoscaler, create, scaling, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane


@pytest.fixture
def operator(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator of this namespace alone."""
    cluster.kubectl("create", "serviceaccount", "operator", "--namespace", namespace)
    apply(cluster, *manifests(service_account="operator", operator_namespace=namespace, namespaces=(namespace,)))
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "operator")
    log = tmp_path / "operator.log"
    owned = {"namespaces": namespace, "lease_namespace": namespace}
    with metrics_served(cluster), running(kubeconfig, log, **owned) as process:
        yield process.wait_leading()


def test_an_autoscaler_that_looks_costs_nothing(operator: OperatorProcess, api: Api, namespace: str) -> None:
    create(api, namespace, minReplicas=2, maxReplicas=10)
    settled(api, namespace, 2)
    use_cpu(api, namespace, 80)
    scaling(api, namespace, "Autoscaling")
    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "Reconciling")["status"] == "False")

    def load() -> list[Any]:
        found = autoscaler(api, namespace)
        assert found is not None
        seen: list[Any] = found["status"].get("currentMetrics") or []
        return seen

    before = operator.at_rest()
    events = operator.metric("pillion_operator_watch_events_total", kind="horizontalpodautoscalers")
    for millicores in (81, 79, 82, 78, 81, 79):
        known = load()
        use_cpu(api, namespace, millicores)
        eventually(lambda known=known: load() not in ([], known))  # type: ignore[misc]  # a default binds the value
    counter = "pillion_operator_watch_events_total"
    eventually(lambda: operator.metric(counter, kind="horizontalpodautoscalers") >= events + 6)

    assert before == operator.at_rest()
