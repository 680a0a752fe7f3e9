"""How many replicas a component has, and what makes it have more. Field names as in KServe's v1beta1."""

from typing import Literal, TypeAlias

from pillion.resources.annotations import AtomicOf, Count, Open, Positive, Quantity
from pillion.resources.base import ResourceModel

ScaleMetric: TypeAlias = Literal["cpu", "memory", "concurrency", "rps", "queueDepth"]
TargetType: TypeAlias = Literal["Utilization", "Value", "AverageValue"]


class MetricTarget(ResourceModel):
    """The value of a metric that scaling aims at."""

    type: TargetType
    """How the value is read."""

    value: Quantity | None = None
    """The whole value, for type `Value`."""

    average_value: Quantity | None = None
    """The value per pod, for type `AverageValue`."""

    average_utilization: Positive | None = None
    """The percentage of the request, for type `Utilization`."""


class ResourceMetric(ResourceModel):
    """Scales on the pods' CPU or memory."""

    name: Literal["cpu", "memory"]
    """The resource."""

    target: MetricTarget
    """The value to aim at."""


class MetricSpec(ResourceModel):
    """One metric to scale on: its type, and the field that belongs to that type."""

    type: Literal["Resource", "External", "PodMetric"]
    """The kind of source."""

    resource: ResourceMetric | None = None
    """The pods' CPU or memory."""

    external: Open | None = None
    """A metric from outside the cluster, as in KServe."""

    podmetric: Open | None = None
    """A metric of the pods themselves, as in KServe."""


class AutoScalingSpec(ResourceModel):
    """Scaling on several metrics."""

    metrics: AtomicOf[MetricSpec] | None = None
    """The metrics; the one that asks for most replicas wins."""

    behavior: Open | None = None
    """How fast to scale, as in a HorizontalPodAutoscaler."""


class ScalingFields(ResourceModel):
    """The fields that decide the number of replicas."""

    min_replicas: Count | None = None
    """The least number of replicas. Default: 1. With zero there is none while nobody asks."""

    max_replicas: Count | None = None
    """The greatest number of replicas. Above the least, an autoscaler decides, unless the annotation
    `autoscalerClass` is `none` or `external`. Zero, absent or equal to the least: the number is fixed."""

    scale_target: Positive | None = None
    """The value of `scaleMetric` per replica to aim at: percent of the request, or with AverageValue cores or bytes.
    Default: 80 percent, 100 requests in progress, 200 a second or 1 that waits."""

    scale_metric: ScaleMetric | None = None
    """What to scale on: cpu, memory, concurrency (requests in progress), rps (requests per second) or queueDepth
    (requests that wait). Default: cpu."""

    scale_metric_type: TargetType | None = None
    """How `scaleTarget` is read. Default: Utilization for cpu and memory, else AverageValue."""

    auto_scaling: AutoScalingSpec | None = None
    """Scaling on several metrics; it takes the place of `scaleTarget`, `scaleMetric` and `scaleMetricType`."""
