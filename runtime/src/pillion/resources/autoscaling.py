"""What a component's fields ask of an autoscaler, and what they ask that nobody can give.

The autoscaler of every cluster, a HorizontalPodAutoscaler, reads the CPU and memory of pods from metrics-server, and
other metrics from an adapter where the cluster has one. Requests in progress, requests per second and requests that
wait are counted by the pods themselves, and the operator scales on them.
Source: Kubernetes, autoscaling/v2; KServe v1beta1, `ComponentExtensionSpec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.resources.base import JsonObject
    from pillion.resources.scaling import MetricSpec, MetricTarget, ScalingFields

__all__ = ["DEFAULT_UTILIZATION", "MetricPlan", "PodMetric", "metric_plan"]

#: Percent of what the containers request, where the manifest names no target; as in KServe and in Kubernetes itself.
DEFAULT_UTILIZATION: Final = 80
#: What is aimed at for each pod where the manifest names no target. Source: Knative's defaults for the first two.
_DEFAULT_TARGETS: Final = {"concurrency": 100, "rps": 200, "queueDepth": 1}

#: How people are told of them.
_WORDS: Final = {"concurrency": "requests in progress", "rps": "requests per second", "queueDepth": "waiting requests"}


@dataclass(frozen=True, slots=True)
class PodMetric:
    """What the pods count themselves, and how much of it a pod should have."""

    name: str
    target: float

    @property
    def words(self) -> str:
        """What is counted, for people."""
        return _WORDS[self.name]


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """The metrics to scale on.

    Attributes:
        metrics: entries of a HorizontalPodAutoscaler's `spec.metrics`.
        left_out: what is asked for and cannot be had: the field's address below the component, and why.
        pods: what the pods count, where it is that; `metrics` is empty then.
    """

    metrics: tuple[JsonObject, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    pods: PodMetric | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to scale on."""
        return not self.metrics and self.pods is None

    @property
    def resources(self) -> str:
        """The names of the metrics, for people: `cpu and memory`."""
        return " and ".join(dict.fromkeys(_name(metric) for metric in self.metrics))


def metric_plan(scaling: ScalingFields) -> MetricPlan:
    """Return what to scale on; `autoScaling.metrics` takes the place of the three single fields."""
    several = scaling.auto_scaling.metrics if scaling.auto_scaling else None
    if not several:
        return _single(scaling)
    found: list[JsonObject] = []
    left_out = list(_replaced(scaling))
    for index, metric in enumerate(several):
        entry, why = _entry(metric)
        if entry is None:
            left_out.append((f"autoScaling.metrics[{index}]", why))
        else:
            found.append(entry)
    return MetricPlan(tuple(found), tuple(left_out))


def _name(metric: JsonObject) -> str:
    match metric:
        case {"resource": {"name": str(name)}}:
            return name
        case {"external": {"metric": {"name": str(name)}}} | {"pods": {"metric": {"name": str(name)}}}:
            return name
    return str(metric.get("type"))


def _single(scaling: ScalingFields) -> MetricPlan:
    name = scaling.scale_metric or "cpu"
    if name in _DEFAULT_TARGETS:
        if scaling.scale_metric_type in {"Utilization", "Value"}:
            why = f"{name} has no target {scaling.scale_metric_type}; use AverageValue, which is for each pod"
            return MetricPlan((), (("scaleMetricType", why),))
        return MetricPlan((), pods=PodMetric(name, float(scaling.scale_target or _DEFAULT_TARGETS[name])))
    match scaling.scale_metric_type:
        case "Value":
            return MetricPlan((), (("scaleMetricType", _no_value(name)),))
        case "AverageValue" if scaling.scale_target is None:
            return MetricPlan((), (("scaleMetricType", "AverageValue needs scaleTarget, in cores or bytes"),))
        case "AverageValue":
            target: JsonObject = {"type": "AverageValue", "averageValue": str(scaling.scale_target)}
        case _:
            target = {"type": "Utilization", "averageUtilization": scaling.scale_target or DEFAULT_UTILIZATION}
    return MetricPlan((_resource(name, target),))


def _replaced(scaling: ScalingFields) -> Iterator[tuple[str, str]]:
    given = {
        "scaleTarget": scaling.scale_target,
        "scaleMetric": scaling.scale_metric,
        "scaleMetricType": scaling.scale_metric_type,
    }
    for field, value in given.items():
        if value is not None:
            yield field, "autoScaling.metrics takes its place"


def _entry(metric: MetricSpec) -> tuple[JsonObject | None, str]:
    match metric.type:
        case "External":
            return _adapted("External", "external", metric.external)
        case "PodMetric":
            return _adapted("Pods", "podmetric", metric.podmetric)
        case "Resource":
            pass
    if metric.resource is None:
        return None, "type Resource needs the field resource"
    target, why = _target(metric.resource.name, metric.resource.target)
    return (None, why) if target is None else (_resource(metric.resource.name, target), "")


def _adapted(kind: str, field: str, given: JsonObject | None) -> tuple[JsonObject | None, str]:
    """Return the entry for a metric that an adapter in the cluster serves under a name.

    KServe's manifests name a query and a backend instead, from which its controller makes objects of other projects.
    """
    metric, target = (given or {}).get("metric"), (given or {}).get("target")
    name = metric.get("name") if isinstance(metric, dict) else None
    if not isinstance(metric, dict) or not isinstance(target, dict) or not isinstance(name, str) or not name:
        return None, f"it needs {field}.metric.name, under which an adapter in the cluster serves it, and a target"
    wanted: JsonObject = {key: target[key] for key in ("type", "value", "averageValue") if target.get(key) is not None}
    for key in ("value", "averageValue"):
        if key in wanted:
            wanted[key] = str(wanted[key])
    if kind == "Pods" and wanted.get("type") != "AverageValue":
        return None, "a metric of pods needs a target of type AverageValue"
    named: JsonObject = {"name": name}
    if isinstance(metric.get("selector"), dict):
        named["selector"] = metric["selector"]
    return {"type": kind, kind.lower(): {"metric": named, "target": wanted}}, ""


def _target(name: str, target: MetricTarget) -> tuple[JsonObject | None, str]:
    match target.type:
        case "Value":
            return None, _no_value(name)
        case "AverageValue" if target.average_value is None:
            return None, "type AverageValue needs averageValue, such as 500m or 2Gi"
        case "AverageValue":
            return {"type": "AverageValue", "averageValue": str(target.average_value)}, ""
        case "Utilization":
            percent = target.average_utilization or DEFAULT_UTILIZATION
            return {"type": "Utilization", "averageUtilization": percent}, ""


def _resource(name: str, target: JsonObject) -> JsonObject:
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def _no_value(name: str) -> str:
    return f"an autoscaler has no target Value for {name}; use Utilization or AverageValue"
