"""The objects of one component: what every component has, the predictor and those beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.builders.autoscaler import autoscaler
from pillion_operator.builders.configmap import config_map
from pillion_operator.builders.declared import models_config
from pillion_operator.builders.deployment import deployment
from pillion_operator.builders.disruption_budget import disruption_budget
from pillion_operator.builders.monitor import monitor
from pillion_operator.builders.network_policy import network_policy
from pillion_operator.builders.service import service
from pillion_operator.state.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SERVICE,
)
from pillion_operator.state.plan import Child

if TYPE_CHECKING:
    from pillion_operator.builders.context import BuildContext
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.plan import Note, ReplicaBounds

__all__ = ["component_children"]


def component_children(
    context: BuildContext, bounds: ReplicaBounds, optional_kinds: frozenset[Kind]
) -> tuple[tuple[Child, ...], tuple[Note, ...]]:
    """Return the objects in the order in which they are applied, and what is to be said of them.

    Raises:
        PlanError: something of the manifest cannot be.
    """
    manifest, notes = deployment(context)
    asked = context.predictor.network_policy
    declares = context.ours and context.declared is not None and context.declared.models
    children = [
        *([Child(CONFIG_MAP, config_map(context))] if context.ours else []),
        *([Child(CONFIG_MAP, models_config(context))] if declares else []),
        Child(SERVICE, service(context)),
        # Before the pods, so that there is no moment at which they are open.
        *([Child(NETWORK_POLICY, network_policy(context, asked))] if asked is not None else []),
        Child(DEPLOYMENT, manifest),
    ]
    if bounds.least > 1 or bounds.autoscaled:
        children.append(Child(POD_DISRUPTION_BUDGET, disruption_budget(context)))
    if bounds.autoscaled and bounds.by_pods is None:
        children.append(Child(HORIZONTAL_POD_AUTOSCALER, autoscaler(context, bounds)))
    watcher, gaps = monitor(context, optional_kinds)
    children += [watcher] if watcher is not None else []
    return tuple(children), (*notes, *gaps)
