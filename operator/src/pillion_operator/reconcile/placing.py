"""Spreading the declared models of a service over its pods: asks the pods what they have, and decides by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.builders.placement import is_member, members_of, wish_of, with_placement
from pillion_operator.state.kinds import CONFIG_MAP
from pillion_operator.state.manifest import is_reachable, key_of
from pillion_operator.state.names import models_config_name

if TYPE_CHECKING:
    from pillion.resources import InferenceService
    from pillion_operator.observe.declared_status import DeclaredStatusReader
    from pillion_operator.state.observed import Observed
    from pillion_operator.state.plan import Desired

__all__ = ["placed"]


async def placed(
    service: InferenceService, observed: Observed, desired: Desired, pods: DeclaredStatusReader
) -> Desired:
    """Return the plan with the placement that the manifest asks for, if it does."""
    asked = service.spec.predictor.model_placement
    if asked is None or not desired.complete:
        return desired
    members = [pod for pod in observed.pods if is_member(pod)]
    reports = await pods.read([pod for pod in members if is_reachable(pod)])
    name = key_of(observed.service).name
    live = observed.children.get(CONFIG_MAP, {}).get(models_config_name(name))
    return with_placement(name, desired, members_of(members, reports), live, wish_of(asked))
