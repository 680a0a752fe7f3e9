"""The way in from outside: whose hosts are whose, which shares a Gateway has, and what has to stay until it follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pillion_operator.builders.claims import claimant, claims_of, taken
from pillion_operator.builders.deployment import MIN_READY_SECONDS
from pillion_operator.builders.routes import with_routes
from pillion_operator.builders.shares import of_stable, shares, told_apart
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
from pillion_operator.state.manifest import is_deleting, key_of, labels_of, seconds_at
from pillion_operator.state.names import (
    CANARY,
    VARIANT_LABEL,
    canary_name,
    predictor_name,
    runtime_config_of_canary,
    stable_name,
)
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
        weighs = service.spec.networking.gateway is not None and not _is_held(desired)
        shared = shares(desired, name) if weighs else None
        settles = 0.0 if shared is None else _settles(observed, stable_name(name))
        desired = with_routes(service, observed.service, desired, kinds, taken(own, others), shared, settles)
    return _without_others(name, observed, _spared(name, observed, desired))


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
    return replace(desired, spared=desired.spared | kept)


def _without_others(service: str, observed: Observed, desired: Desired) -> Desired:
    """Take pods that are to have no share out of cluster DNS at once, where the others can be told from them.

    Those that are deleted leave it a moment later by themselves; those that a Gateway leads to, once it has followed.
    """
    name = canary_name(service)
    planned = any(child.kind is DEPLOYMENT and key_of(child.manifest).name == name for child in desired.children)
    if planned or (desired.split is not None and desired.split.stands_in):
        return desired
    told = [labels_of(pod).get(VARIANT_LABEL, "") for pod in observed.pods if not is_deleting(pod)]
    there = name in observed.children.get(DEPLOYMENT, {}) or CANARY in told
    if not there or "" in told or not told_apart(desired, service):
        return desired
    children = tuple(
        replace(child, manifest=of_stable(child.manifest))
        if child.kind is SERVICE and key_of(child.manifest).name == predictor_name(service)
        else child
        for child in desired.children
    )
    return replace(desired, children=children)
