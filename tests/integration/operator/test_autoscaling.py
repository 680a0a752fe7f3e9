"""The autoscaler as a child: made, repaired, taken away, and the count handed over without a moment below it.

The controller that decides is Kubernetes' own; the tests play the kubelet and metrics-server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually
from tests.integration.operator.kubelet import metrics_served, pods, use_cpu
from tests.integration.operator.scaled import autoscaler, change, create, replicas, scaling, settled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node.apiserver import ControlPlane


def version(api: Api, namespace: str) -> str:
    """The Deployment's resource version: where the history that `counts_since` reads begins."""
    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    found: str = deployment["metadata"]["resourceVersion"]
    return found


def counts_since(api: Api, namespace: str, since: str) -> list[tuple[int, int]]:
    """Every (wanted, ready) that was stored since: no moment is missed."""
    states = api.history("Deployment", namespace, since)
    return [(found["spec"]["replicas"], found["status"].get("readyReplicas", 0)) for found in states]


def test_a_range_of_replicas_makes_an_autoscaler(operator: OperatorProcess, api: Api, namespace: str) -> None:
    service = create(api, namespace, minReplicas=2, maxReplicas=10, scaleMetric="memory", scaleTarget=60)

    found = eventually(lambda: autoscaler(api, namespace))
    assert found is not None
    assert service["metadata"]["uid"] == found["metadata"]["ownerReferences"][0]["uid"]
    assert {"apiVersion": "apps/v1", "kind": "Deployment", "name": "iris-predictor"} == found["spec"]["scaleTargetRef"]
    assert (2, 10) == (found["spec"]["minReplicas"], found["spec"]["maxReplicas"])
    target = {"type": "Utilization", "averageUtilization": 60}
    assert [{"type": "Resource", "resource": {"name": "memory", "target": target}}] == found["spec"]["metrics"]
    eventually(lambda: replicas(api, namespace) == 2)


@pytest.mark.parametrize(
    ("annotations", "predictor"),
    [
        ({}, {"minReplicas": 3, "maxReplicas": 3}),
        ({"serving.pillion.dev/autoscalerClass": "none"}, {"minReplicas": 3, "maxReplicas": 9}),
        ({"serving.kserve.io/autoscalerClass": "external"}, {"minReplicas": 3, "maxReplicas": 9}),
        ({}, {"minReplicas": 3, "maxReplicas": 9, "scaleMetric": "rps", "scaleMetricType": "Value"}),
    ],
    ids=["fixed", "none", "external", "no-metric"],
)
def test_no_autoscaler_is_made_unasked(
    operator: OperatorProcess, api: Api, namespace: str, annotations: dict[str, str], predictor: dict[str, Any]
) -> None:
    create(api, namespace, annotations, **predictor)

    eventually(lambda: replicas(api, namespace) == 3)
    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready"))
    assert autoscaler(api, namespace) is None


def test_a_metric_that_nobody_can_serve_is_named(operator: OperatorProcess, api: Api, namespace: str) -> None:
    query = {"metric": {"backend": "prometheus", "query": "sum(x)"}, "target": {"type": "Value", "value": "4"}}
    create(api, namespace, maxReplicas=4, autoScaling={"metrics": [{"type": "External", "external": query}]})

    def named() -> str:
        found: str = condition(api.get("InferenceService", namespace, "iris"), "FieldsHonoured").get("message", "")
        return found

    assert "spec.predictor.autoScaling.metrics[0] (it needs external.metric.name" in eventually(named)
    assert "spec.predictor.maxReplicas (there is nothing to scale on; 1 run)" in named()


def test_a_metric_that_an_adapter_serves_is_passed_on(operator: OperatorProcess, api: Api, namespace: str) -> None:
    target = {"type": "AverageValue", "averageValue": 30}
    metric = {"name": "orders_waiting", "selector": {"matchLabels": {"shop": "north"}}}
    metrics = [{"type": kind, kind.lower(): {"metric": metric, "target": target}} for kind in ("External", "PodMetric")]
    create(api, namespace, maxReplicas=4, autoScaling={"metrics": metrics})

    found = eventually(lambda: autoscaler(api, namespace))

    assert found is not None
    wanted = {"metric": metric, "target": {"type": "AverageValue", "averageValue": "30"}}
    assert [{"type": "External", "external": wanted}, {"type": "Pods", "pods": wanted}] == found["spec"]["metrics"]


def test_an_edited_autoscaler_is_set_right_and_a_deleted_one_comes_back(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    create(api, namespace, minReplicas=2, maxReplicas=10)
    known = eventually(lambda: autoscaler(api, namespace))
    assert known is not None

    api.patch("HorizontalPodAutoscaler", namespace, "iris-predictor", {"spec": {"maxReplicas": 90}}, manager="editor")
    eventually(lambda: (autoscaler(api, namespace) or known)["spec"]["maxReplicas"] == 10)
    api.delete("HorizontalPodAutoscaler", namespace, "iris-predictor")
    eventually(lambda: (autoscaler(api, namespace) or known)["metadata"]["uid"] != known["metadata"]["uid"])


def test_without_a_metrics_api_the_condition_names_metrics_server(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    create(api, namespace, minReplicas=2, maxReplicas=10)
    settled(api, namespace, 2)

    found = scaling(api, namespace, "MetricsUnavailable")

    assert "False" == found["status"]
    assert "metrics-server" in found["message"]
    assert "could not find the requested resource" in found["message"]
    eventually(lambda: [e for e in api.list("Event", namespace) if e["reason"] == "MetricsUnavailable"])
    # What serves goes on serving.
    assert "True" == condition(api.get("InferenceService", namespace, "iris"), "Ready")["status"]


def test_stopping_takes_the_autoscaler_away_and_starting_brings_it_back(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    create(api, namespace, minReplicas=2, maxReplicas=10)
    eventually(lambda: autoscaler(api, namespace) and replicas(api, namespace) == 2)
    name = "serving.pillion.dev/stop"

    api.patch("InferenceService", namespace, "iris", {"metadata": {"annotations": {name: "true"}}})
    eventually(lambda: autoscaler(api, namespace) is None and replicas(api, namespace) == 0)
    api.patch("InferenceService", namespace, "iris", {"metadata": {"annotations": {name: None}}})

    eventually(lambda: autoscaler(api, namespace) and replicas(api, namespace) == 2)


@pytest.fixture(scope="module")
def metrics(cluster: ControlPlane) -> Iterator[None]:
    """From here to the module's end the cluster has a metrics API."""
    with metrics_served(cluster):
        yield


@pytest.mark.parametrize(
    "off",
    [
        {"spec": {"predictor": {"maxReplicas": None}}},
        {"spec": {"predictor": {"minReplicas": 5, "maxReplicas": 5}}},
        {"metadata": {"annotations": {"serving.pillion.dev/autoscalerClass": "none"}}},
        {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "external"}}},
    ],
    ids=["no-most", "fixed", "none", "external"],
)
def test_autoscaling_switched_on_and_off_at_five_replicas_never_has_fewer(
    operator: OperatorProcess, api: Api, namespace: str, metrics: None, off: dict[str, Any]
) -> None:
    create(api, namespace, minReplicas=5)
    settled(api, namespace, 5)
    since = version(api, namespace)

    change(api, namespace, minReplicas=2, maxReplicas=10)
    eventually(lambda: autoscaler(api, namespace))
    use_cpu(api, namespace, 80)
    scaling(api, namespace, "Autoscaling")
    api.patch("InferenceService", namespace, "iris", off)
    eventually(lambda: autoscaler(api, namespace) is None)
    # A change of the template is the moment at which a lost owner would cut the count.
    change(api, namespace, labels={"team": "a"})
    eventually(lambda: any(pod["metadata"]["labels"].get("team") == "a" for pod in pods(api, namespace)))

    counts = counts_since(api, namespace, since)
    assert {5} == {wanted for wanted, _ in counts}
    assert [] == [ready for _, ready in counts if ready < 5]


def test_what_the_autoscaler_decides_is_kept_and_outlives_it(
    operator: OperatorProcess, api: Api, namespace: str, metrics: None
) -> None:
    create(api, namespace, minReplicas=2, maxReplicas=10)
    settled(api, namespace, 2)
    use_cpu(api, namespace, 160)
    eventually(lambda: replicas(api, namespace) == 4)
    since = version(api, namespace)
    use_cpu(api, namespace, 80)
    settled(api, namespace, 4)

    change(api, namespace, labels={"team": "a"})
    eventually(lambda: any(pod["metadata"]["labels"].get("team") == "a" for pod in pods(api, namespace)))
    change(api, namespace, maxReplicas=None)
    eventually(lambda: autoscaler(api, namespace) is None)
    change(api, namespace, labels={"team": "b"})
    eventually(lambda: any(pod["metadata"]["labels"].get("team") == "b" for pod in pods(api, namespace)))

    assert [] == [wanted for wanted, _ in counts_since(api, namespace, since) if wanted < 4]
