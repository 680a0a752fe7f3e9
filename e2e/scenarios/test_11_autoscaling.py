"""Autoscaling with a real metrics-server, and a node that has no room for one pod more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models
from e2e.harness.waiting import eventually
from e2e.harness.watching import Watch

if TYPE_CHECKING:
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_URI = "configmap://iris/model.skops"
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def _replicas(stage: Stage) -> int:
    return int((stage.get("deployment", "iris-predictor") or {}).get("spec", {}).get("replicas", 0))


def test_switching_autoscaling_on_and_off_at_five_replicas_never_leaves_fewer_ready(
    stage: Stage, report: Report
) -> None:
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", _URI, minReplicas=5))
    stage.wait_ready("iris", within=180)
    stage.wait_rolled_out("iris")
    load = stage.load("load", "http", "iris", tls=False, rate=50)
    with Watch(stage.target, stage.namespace, "deployment", "iris-predictor", seconds=500) as watch:
        stage.patch("pisvc", "iris", {"spec": {"predictor": {"minReplicas": 2, "maxReplicas": 10}}})
        eventually(lambda: stage.get("hpa", "iris-predictor"), within=20, what="the autoscaler is there")
        # From then on the autoscaler has metrics and could decide; it keeps what was before for five minutes.
        stage.wait_reason("iris", "Autoscaling", kind="ScalingActive", status="True", within=180)
        stage.patch("pisvc", "iris", {"spec": {"predictor": {"maxReplicas": None}}})
        eventually(
            lambda: stage.get("hpa", "iris-predictor"), lambda found: found is None, within=20, what="it is gone"
        )
        # A change of the template is the moment at which a lost owner would cut the count.
        stage.patch("pisvc", "iris", {"spec": {"predictor": {"labels": {"rolled": "after"}}}})
        eventually(
            lambda: [pod["metadata"]["labels"].get("rolled") for pod in stage.pods("iris")],
            lambda labels: "after" in labels,
            within=60,
            what="the pods roll",
        )
        stage.wait_rolled_out("iris", within=300)
        states = watch.states()
    result = load.finish(least=1000, within=120)

    ready = [int(found["status"].get("readyReplicas", 0)) for found in states]
    report.add("autoscaling-handed-over", least_ready=min(ready), states=len(states), **result.figures())
    assert {5} == {found["spec"]["replicas"] for found in states}
    assert min(ready) >= 5
    assert (result.failed, result.failures) == (0, {}), result.examples


def test_load_brings_pods_and_they_stay_when_autoscaling_is_switched_off(stage: Stage, report: Report) -> None:
    stage.apply(manifests.config_map("iris", models.iris()))
    # Ten percent of the default request of 100m: any load is more.
    stage.apply(manifests.inference_service("iris", _URI, minReplicas=1, maxReplicas=3, scaleTarget=10))
    stage.wait_ready("iris")
    load = stage.load("load", "http", "iris", tls=False, rate=200)

    start = time.monotonic()
    eventually(lambda: _replicas(stage), lambda count: count == 3, within=240, what="three replicas", every=1)
    took = time.monotonic() - start
    stage.wait_rolled_out("iris")
    stage.patch("pisvc", "iris", {"spec": {"predictor": {"maxReplicas": None}}})
    eventually(lambda: stage.get("hpa", "iris-predictor"), lambda found: found is None, within=20, what="it is gone")
    result = load.finish(least=2000, within=60)

    report.add("autoscaling-up", seconds_to_three=round(took, 1), **result.figures())
    assert _replicas(stage) == 3
    assert result.failed == 0, result.examples


def test_a_node_without_room_for_a_surge_pod_is_named_and_the_proposed_mode_helps(stage: Stage) -> None:
    stage.apply(manifests.config_map("iris", models.iris()))
    resources = {"requests": {"cpu": "10m", "memory": str(int(_memory_of_the_node(stage) * 0.6))}}
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": _URI, "resources": resources}
    stage.apply(manifests.inference_service("iris", model=model))
    stage.wait_ready("iris")

    stage.patch("pisvc", "iris", {"spec": {"predictor": {"labels": {"rolled": "once"}}}})
    said = stage.wait_reason("iris", "Unschedulable", kind="Progressing", within=120)["message"]
    answered = stage.predict("iris")["data"]
    stage.patch("pisvc", "iris", {"spec": {"predictor": {"rollout": {"mode": "ResourceAware"}}}})
    stage.wait_rolled_out("iris", within=180, old_gone=True)
    stage.wait_ready("iris")

    assert "rollout.mode: ResourceAware" in said
    assert answered == stage.predict("iris")["data"]
    assert stage.pods("iris")[0]["metadata"]["labels"]["rolled"] == "once"


def _memory_of_the_node(stage: Stage) -> int:
    """The bytes that pods may ask for on the largest node."""
    nodes: list[dict[str, Any]] = stage.target.kubectl.items("nodes")
    return max(_bytes(node["status"]["allocatable"]["memory"]) for node in nodes)


def _bytes(quantity: str) -> int:
    return int(quantity[:-2]) * _UNITS[quantity[-2:]] if quantity[-2:] in _UNITS else int(quantity)
