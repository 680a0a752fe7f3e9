"""Rollouts that the cluster has no room for. The tests play the kubelet and the scheduler."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.integration.operator.harness import Api, OperatorProcess, condition, eventually, inference_service
from tests.integration.operator.kubelet import make_ready, pods


def test_a_surge_pod_that_stays_without_a_node_names_the_way_out(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    api.create(namespace, inference_service())
    eventually(lambda: make_ready(api, namespace) == 1)
    eventually(lambda: condition(api.get("InferenceService", namespace, "iris"), "Ready").get("status") == "True")
    old = {pod["metadata"]["name"] for pod in pods(api, namespace)}
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"labels": {"team": "a"}}}})
    surge = eventually(lambda: {pod["metadata"]["name"] for pod in pods(api, namespace)} - old).pop()

    ago = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=55)).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"reason": "Unschedulable", "message": "0/1 nodes are available: insufficient memory"}
    unplaced = [{"type": "PodScheduled", "status": "False", "lastTransitionTime": ago, **said}]
    status = {"status": {"phase": "Pending", "conditions": unplaced}}
    api.patch("Pod", namespace, surge, status, subresource="status", manager="scheduler")

    def stuck() -> dict[str, Any] | None:
        found = condition(api.get("InferenceService", namespace, "iris"), "Progressing")
        return found if found.get("reason") == "Unschedulable" else None

    # Nothing changes any more when the minute is over: the operator looks by itself.
    found = eventually(stuck)
    assert found is not None
    assert "False" == found["status"]
    assert surge in found["message"]
    assert "rollout.mode: ResourceAware" in found["message"]

    def ready() -> str:
        message: str = condition(api.get("InferenceService", namespace, "iris"), "Ready")["message"]
        return message

    eventually(lambda: "Meanwhile 1 pod serves on." in ready())

    # What the message proposes works: the old pod goes first.
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"rollout": {"mode": "ResourceAware"}}}})
    eventually(lambda: not old & {pod["metadata"]["name"] for pod in pods(api, namespace)})


def test_a_frugal_rollout_never_asks_for_more_pods_than_wanted(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    predictor: dict[str, Any] = {"rollout": {"mode": "ResourceAware"}, "minReplicas": 2}
    api.create(namespace, inference_service(sklearn={"storageUri": "s3://models/iris"}, **predictor))
    eventually(lambda: make_ready(api, namespace) == 2)
    (first,) = api.list("ReplicaSet", namespace)
    before = {pod["metadata"]["name"] for pod in pods(api, namespace)}

    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"labels": {"team": "a"}}}})
    eventually(
        lambda: make_ready(api, namespace) == 2 and not before & {p["metadata"]["name"] for p in pods(api, namespace)}
    )

    # What is asked for: pods on their way out still exist, whatever the strategy.
    asked = {first["metadata"]["name"]: 2}
    most = 0
    for state in api.history("ReplicaSet", namespace, first["metadata"]["resourceVersion"]):
        asked[state["metadata"]["name"]] = state["spec"]["replicas"]
        most = max(most, sum(asked.values()))
    assert 2 == most
    assert 2 == len(asked)
