"""The PodDisruptionBudget: drains of nodes take one pod at a time, and never wait for pods that are broken anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.kinds import POD_DISRUPTION_BUDGET

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext


def disruption_budget(context: BuildContext) -> JsonObject:
    """Return the budget; only where there may be two replicas or more, since for one pod it says nothing."""
    body: JsonObject = {
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": dict(context.selector)},
        }
    }
    return context.manifest(POD_DISRUPTION_BUDGET, context.child_name, body)
