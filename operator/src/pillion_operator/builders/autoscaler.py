"""The HorizontalPodAutoscaler of the predictor's Deployment, and the bounds within which it may decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pillion.resources.autoscaling import metric_plan
from pillion.resources.conventions import NO_AUTOSCALER, annotation, is_stopped
from pillion_operator.builders.activator import zero_after, zero_obstacle
from pillion_operator.scaling.behavior import behavior_of
from pillion_operator.state.kinds import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER
from pillion_operator.state.manifest import array
from pillion_operator.state.plan import ReplicaBounds
from pillion_operator.state.scaling import PodScaling

if TYPE_CHECKING:
    from pillion.resources import InferenceService
    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext
    from pillion_operator.state.settings import RenderSettings

__all__ = ["autoscaler", "replica_bounds", "scaling_gaps"]


def replica_bounds(service: InferenceService, settings: RenderSettings, *, counted: bool = True) -> ReplicaBounds:
    """Return how many pods there may be, and whether an autoscaler of ours decides.

    `counted` says whether the pods count requests, which only Pillion's runtime does as the operator reads it.
    Without `maxReplicas` only the least is ours to say: somebody's autoscaler may have the rest.
    """
    if is_stopped(service.metadata):
        return ReplicaBounds(0, 0)
    return replace(_awake(service, counted=counted), to_zero_after=zero_after(service, settings, counted=counted))


def _awake(service: InferenceService, *, counted: bool) -> ReplicaBounds:
    """Return how many pods there may be while there are some."""
    predictor = service.spec.predictor
    autoscaler_class = annotation(service.metadata, "autoscalerClass")
    least = max(1, 1 if predictor.min_replicas is None else predictor.min_replicas)
    most = predictor.max_replicas or None
    if autoscaler_class == "external":
        return ReplicaBounds(least, None)
    if most is None or most <= least or autoscaler_class in NO_AUTOSCALER:
        return ReplicaBounds(least, most)
    asked = metric_plan(predictor)
    if asked.pods is None:
        return ReplicaBounds(least, most, autoscaled=bool(asked.metrics))
    if not counted:
        return ReplicaBounds(least, most)
    behavior, _ = behavior_of(predictor.auto_scaling.behavior if predictor.auto_scaling else None)
    return ReplicaBounds(least, most, autoscaled=True, by_pods=PodScaling(asked.pods, behavior))


def scaling_gaps(context: BuildContext) -> list[str]:
    """Return what is said of scaling by the pods' own counts and has no effect."""
    predictor = context.predictor
    gaps = _zero_gap(context)
    asked = metric_plan(predictor).pods
    if asked is None or annotation(context.service.metadata, "autoscalerClass") in NO_AUTOSCALER:
        return gaps
    if not context.ours:
        name = context.container.get("name")
        return [
            *gaps,
            f"spec.predictor.scaleMetric {asked.name} on the container {name!r}, which is not Pillion's runtime",
        ]
    _, wrong = behavior_of(predictor.auto_scaling.behavior if predictor.auto_scaling else None)
    return [*gaps, *(f"spec.predictor.autoScaling.behavior.{field}" for field in wrong)]


def _zero_gap(context: BuildContext) -> list[str]:
    if context.predictor.min_replicas != 0:
        return []
    container = str(context.container.get("name"))
    why = zero_obstacle(context.service, context.settings, container, counted=context.ours)
    return [f"spec.predictor.minReplicas: 0 ({why}; one pod stays)"] if why else []


def autoscaler(context: BuildContext, bounds: ReplicaBounds) -> JsonObject:
    """Return the autoscaler; `bounds.autoscaled` holds, and not by the pods' counts.

    Source: autoscaling/v2 HorizontalPodAutoscalerSpec.
    """
    spec: JsonObject = {
        "scaleTargetRef": {
            "apiVersion": DEPLOYMENT.api_version,
            "kind": DEPLOYMENT.name,
            "name": context.child_name,
        },
        "minReplicas": bounds.least,
        "maxReplicas": bounds.most,
        "metrics": array(metric_plan(context.predictor).metrics),
    }
    given = context.predictor.auto_scaling
    if given is not None and given.behavior is not None:
        spec["behavior"] = given.behavior
    return context.manifest(HORIZONTAL_POD_AUTOSCALER, context.child_name, {"spec": spec})
