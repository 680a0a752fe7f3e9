from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pillion.resources import InferenceServiceSpec, unhonoured_fields
from pillion.resources.autoscaling import MetricPlan, PodMetric, metric_plan

if TYPE_CHECKING:
    from pillion.resources import JsonObject, PredictorSpec


def predictor(**fields: Any) -> PredictorSpec:
    return InferenceServiceSpec.from_manifest({"predictor": {"sklearn": {}, **fields}}).predictor


def metric(name: str, **target: object) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": name, "target": target}}


UTILIZATION_80 = metric("cpu", type="Utilization", averageUtilization=80)


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        (UTILIZATION_80, {}),
        (metric("cpu", type="Utilization", averageUtilization=50), {"scaleTarget": 50}),
        (metric("memory", type="Utilization", averageUtilization=80), {"scaleMetric": "memory"}),
        (
            metric("memory", type="AverageValue", averageValue="500000000"),
            {"scaleMetric": "memory", "scaleMetricType": "AverageValue", "scaleTarget": 500_000_000},
        ),
        (UTILIZATION_80, {"autoScaling": {"behavior": {"scaleUp": {}}}}),
        (UTILIZATION_80, {"autoScaling": {"metrics": [metric("cpu", type="Utilization")]}}),
        (
            metric("cpu", type="AverageValue", averageValue="2"),
            {"autoScaling": {"metrics": [metric("cpu", type="AverageValue", averageValue=2)]}},
        ),
    ],
)
def test_cpu_and_memory_become_metrics_of_an_autoscaler(expected: dict[str, Any], fields: dict[str, Any]) -> None:
    assert MetricPlan((expected,)) == metric_plan(predictor(**fields))


@pytest.mark.parametrize(
    ("field", "said", "fields"),
    [
        ("scaleMetricType", "rps has no target Value", {"scaleMetric": "rps", "scaleMetricType": "Value"}),
        (
            "scaleMetricType",
            "queueDepth has no target Utilization",
            {"scaleMetric": "queueDepth", "scaleMetricType": "Utilization"},
        ),
        ("scaleMetricType", "no target Value for cpu", {"scaleMetricType": "Value", "scaleTarget": 3}),
        ("scaleMetricType", "needs scaleTarget", {"scaleMetricType": "AverageValue"}),
        (
            "autoScaling.metrics[0]",
            "needs external.metric.name",
            {"autoScaling": {"metrics": [{"type": "External", "external": {}}]}},
        ),
        (
            "autoScaling.metrics[0]",
            "a target of type AverageValue",
            {"autoScaling": {"metrics": [{"type": "PodMetric", "podmetric": {"metric": {"name": "x"}, "target": {}}}]}},
        ),
        (
            "autoScaling.metrics[0]",
            "needs averageValue",
            {"autoScaling": {"metrics": [metric("memory", type="AverageValue")]}},
        ),
        ("autoScaling.metrics[0]", "needs the field resource", {"autoScaling": {"metrics": [{"type": "Resource"}]}}),
        (
            "autoScaling.metrics[0]",
            "no target Value",
            {"autoScaling": {"metrics": [metric("memory", type="Value", value="1Gi")]}},
        ),
    ],
)
def test_what_cannot_be_had_is_named_with_the_reason(field: str, said: str, fields: dict[str, Any]) -> None:
    found = metric_plan(predictor(**fields))

    assert () == found.metrics
    assert [field] == [address for address, _ in found.left_out]
    assert said in found.left_out[0][1]


def test_of_several_metrics_those_that_can_be_had_are_used_and_the_others_named() -> None:
    metrics = [metric("cpu", type="Utilization", averageUtilization=70), {"type": "PodMetric", "podmetric": {}}]
    found = metric_plan(predictor(scaleTarget=50, autoScaling={"metrics": metrics}))

    assert (metrics[0],) == found.metrics
    assert ["scaleTarget", "autoScaling.metrics[1]"] == [address for address, _ in found.left_out]


def test_a_range_with_nothing_to_scale_on_is_named() -> None:
    several: JsonObject = {"metrics": [{"type": "External", "external": {}}]}
    spec: JsonObject = {"predictor": {"sklearn": {}, "minReplicas": 2, "maxReplicas": 5, "autoScaling": several}}

    named = [str(field) for field in unhonoured_fields(InferenceServiceSpec.from_manifest(spec))]

    assert "spec.predictor.maxReplicas (there is nothing to scale on; 2 run)" in named
    assert any(field.startswith("spec.predictor.autoScaling.metrics[0] (it needs external.metric") for field in named)


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        (PodMetric("concurrency", 100.0), {"scaleMetric": "concurrency"}),
        (PodMetric("concurrency", 5.0), {"scaleMetric": "concurrency", "scaleTarget": 5}),
        (PodMetric("rps", 200.0), {"scaleMetric": "rps", "scaleMetricType": "AverageValue"}),
        (PodMetric("queueDepth", 1.0), {"scaleMetric": "queueDepth", "autoScaling": {"behavior": {"scaleUp": {}}}}),
    ],
)
def test_what_pods_count_themselves_needs_no_adapter(expected: PodMetric, fields: dict[str, Any]) -> None:
    found = metric_plan(predictor(**fields))

    assert MetricPlan((), pods=expected) == found
    assert not found.empty


def test_metrics_that_an_adapter_serves_are_passed_on() -> None:
    named = {"metric": {"name": "waiting", "selector": {"matchLabels": {"a": "b"}}, "query": "x"}}
    external = {**named, "target": {"type": "Value", "value": 4}}
    found = metric_plan(predictor(autoScaling={"metrics": [{"type": "External", "external": external}]}))

    served: JsonObject = {"name": "waiting", "selector": {"matchLabels": {"a": "b"}}}
    wanted: JsonObject = {"type": "External", "external": {"metric": served, "target": {"type": "Value", "value": "4"}}}
    assert MetricPlan((wanted,)) == found
    assert "waiting" == found.resources
