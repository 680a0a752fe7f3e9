"""The HorizontalPodAutoscaler of the predictor's Deployment, and the bounds within which it may decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources.autoscaling import metric_plan
from pillion.resources.conventions import NO_AUTOSCALER, annotation, is_stopped
from pillion_operator.state.kinds import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER
from pillion_operator.state.manifest import array
from pillion_operator.state.plan import ReplicaBounds

if TYPE_CHECKING:
    from pillion.resources import InferenceService
    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext

__all__ = ["autoscaler", "replica_bounds"]


def replica_bounds(service: InferenceService) -> ReplicaBounds:
    """Return how many pods there may be, and whether an autoscaler of ours decides.

    Without `maxReplicas` only the least is ours to say: somebody's autoscaler may have the rest.
    """
    if is_stopped(service.metadata):
        return ReplicaBounds(0, 0)
    predictor = service.spec.predictor
    autoscaler_class = annotation(service.metadata, "autoscalerClass")
    least = max(1, 1 if predictor.min_replicas is None else predictor.min_replicas)
    most = predictor.max_replicas or None
    if autoscaler_class == "external":
        return ReplicaBounds(least, None)
    wanted = most is not None and most > least and autoscaler_class not in NO_AUTOSCALER
    return ReplicaBounds(least, most, autoscaled=wanted and bool(metric_plan(predictor).metrics))


def autoscaler(context: BuildContext, bounds: ReplicaBounds) -> JsonObject:
    """Return the autoscaler; `bounds.autoscaled` holds. Source: autoscaling/v2 HorizontalPodAutoscalerSpec."""
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
