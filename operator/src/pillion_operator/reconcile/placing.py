"""Spreading the declared models of a service over its pods: asks the pods what they have, and decides by it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pillion_operator.builders.assignment import Wish
from pillion_operator.builders.placement import (
    former_wish,
    is_member,
    members_of,
    placement_in,
    wish_of,
    with_placement,
)
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
    """Return the plan with the placement that the manifest asks for, or asked for when its pods were made."""
    asked = service.spec.predictor.model_placement
    members = [pod for pod in observed.pods if is_member(pod)]
    name = key_of(observed.service).name
    live = observed.children.get(CONFIG_MAP, {}).get(models_config_name(name))
    before = placement_in(live)
    if not desired.complete or (asked is None and not (members and before is not None)):
        return desired
    reports = await pods.read([pod for pod in members if is_reachable(pod)])
    found = members_of(members, reports)
    if asked is not None:
        return with_placement(name, desired, found, live, wish_of(asked))
    # Pods that are still to be replaced have no room for all of the models, and must not begin to load them.
    wish = former_wish(before) if before is not None else Wish()
    return replace(with_placement(name, desired, found, live, wish), placement=None)
