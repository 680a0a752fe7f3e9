"""What a component's fields ask of a HorizontalPodAutoscaler, and what they ask that no cluster can give by itself.

The autoscaler of every cluster reads the CPU and memory of pods, from metrics-server. Concurrency, requests per second
and metrics from elsewhere need an adapter that this release does not bring, so they are named instead of guessed at.
Source: Kubernetes, autoscaling/v2; KServe v1beta1, `ComponentExtensionSpec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.resources.base import JsonObject
    from pillion.resources.scaling import MetricSpec, MetricTarget, ScalingFields

__all__ = ["DEFAULT_UTILIZATION", "MetricPlan", "metric_plan"]

#: Percent of what the containers request, where the manifest names no target; as in KServe and in Kubernetes itself.
DEFAULT_UTILIZATION: Final = 80

_ADAPTER: Final = "needs a metrics adapter, which this release does not bring; cpu and memory are available"


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """The metrics to scale on.

    Attributes:
        metrics: entries of an autoscaler's `spec.metrics`; empty where none of those asked for can be had.
        left_out: what is asked for and cannot be had: the field's address below the component, and why.
    """

    metrics: tuple[JsonObject, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def resources(self) -> str:
        """The names of the metrics, for people: `cpu and memory`."""
        names = [str(resource.get("name")) for m in self.metrics if isinstance(resource := m.get("resource"), dict)]
        return " and ".join(dict.fromkeys(names))


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


def _single(scaling: ScalingFields) -> MetricPlan:
    name = scaling.scale_metric or "cpu"
    if name not in {"cpu", "memory"}:
        return MetricPlan((), (("scaleMetric", f"{name} {_ADAPTER}"),))
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
    if metric.type != "Resource":
        return None, f"{metric.type} {_ADAPTER}"
    if metric.resource is None:
        return None, "type Resource needs the field resource"
    target, why = _target(metric.resource.name, metric.resource.target)
    return (None, why) if target is None else (_resource(metric.resource.name, target), "")


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
