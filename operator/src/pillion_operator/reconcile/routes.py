"""The way in from outside: whose hosts are whose, which shares a Gateway has, and what has to stay until it follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pillion_operator.builders.claims import claimant, claims_of, taken
from pillion_operator.builders.deployment import MIN_READY_SECONDS
from pillion_operator.builders.routes import with_routes
from pillion_operator.builders.shares import shares
from pillion_operator.judge.facts import deployment_facts
from pillion_operator.judge.routes import followed, leads_to
from pillion_operator.state.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    GATEWAY_ROUTES,
    INFERENCE_SERVICE,
    ROUTES,
    SERVICE,
)
from pillion_operator.state.manifest import key_of, seconds_at
from pillion_operator.state.names import canary_name, runtime_config_of_canary, stable_name
from pillion_operator.state.slices import holds

if TYPE_CHECKING:
    from pillion.resources import InferenceService
    from pillion_operator.observe.store import Store
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.observed import Observed
    from pillion_operator.state.plan import Desired
    from pillion_operator.state.routes import Claimant

__all__ = ["routed"]


def routed(
    service: InferenceService, observed: Observed, desired: Desired, store: Store, kinds: frozenset[Kind]
) -> Desired:
    """Return the plan with the way in, and with what routes lead to until they have followed."""
    name = key_of(observed.service).name
    if service.spec.networking is not None:
        own = _claimant(observed.service, store)
        others = (
            _claimant(other, store)
            for other, asked in store.derived(INFERENCE_SERVICE, claims_of)
            if own.claims & asked and key_of(other) != own.key
        )
        newest = deployment_facts(observed, canary_name(name))
        weighs = service.spec.networking.gateway is not None and not _is_held(desired)
        shared = shares(desired, name, newest.available_of(desired.revision)) if weighs else None
        settles = 0.0 if shared is None else _settles(observed, stable_name(name))
        desired = with_routes(service, observed.service, desired, kinds, taken(own, others), shared, settles)
    return _spared(name, observed, desired)


def _is_held(desired: Desired) -> bool:
    """Whether the activator holds requests, which come to it by the Service of both revisions alone."""
    slices = (child.manifest for child in desired.children if child.kind is ENDPOINT_SLICE)
    return any(map(holds, slices))


def _settles(observed: Observed, name: str) -> float:
    """Return the seconds until a Service may be led to: one that is new has no endpoints, and answers 503."""
    made = seconds_at(observed.children.get(SERVICE, {}).get(name, {}), "metadata", "creationTimestamp")
    return max(0.0, made + MIN_READY_SECONDS - observed.now) if made else float(MIN_READY_SECONDS)


def _claimant(service: Manifest, store: Store) -> Claimant:
    found = store.children(service, ROUTES)
    return claimant(service, [(kind, route) for kind, routes in found.items() for route in routes.values()])


def _spared(service: str, observed: Observed, desired: Desired) -> Desired:
    """Keep what requests still go to: a Gateway follows a changed route a moment later."""
    routes = [route for kind in GATEWAY_ROUTES for route in observed.children.get(kind, {}).values()]
    if not any(leads_to(route, canary_name(service)) or not followed(route) for route in routes):
        return desired
    kept = {
        (DEPLOYMENT, canary_name(service)),
        (CONFIG_MAP, runtime_config_of_canary(service)),
        (SERVICE, canary_name(service)),
        (SERVICE, stable_name(service)),
    }
    return replace(desired, spared=frozenset(kept))
