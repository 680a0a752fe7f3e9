"""The way in from outside: whose hosts are whose, which shares a Gateway has, and what has to stay until it follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pillion_operator.builders.claims import claimant, claims_of, taken
from pillion_operator.builders.deployment import MIN_READY_SECONDS
from pillion_operator.builders.routes import with_routes
from pillion_operator.builders.shares import of_stable, shares, told_apart
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
from pillion_operator.state.manifest import is_deleting, key_of, labels_of, seconds_at, text_at
from pillion_operator.state.names import (
    BESIDE,
    CANARY,
    PREDICTOR,
    TRANSFORMER,
    VARIANT_LABEL,
    canary_name,
    component_name,
    predictor_name,
    runtime_config_name,
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
    desired = replace(desired, entry=_entry(observed, desired))
    if service.spec.networking is not None:
        own = _claimant(observed.service, store)
        others = (
            _claimant(other, store)
            for other, asked in store.derived(INFERENCE_SERVICE, claims_of)
            if own.claims & asked and key_of(other) != own.key
        )
        # Who comes through the transformer asks the predictor's one Service: shares are those of its pods.
        alone = desired.beside(TRANSFORMER) is None
        weighs = alone and service.spec.networking.gateway is not None and not _is_held(desired)
        shared = shares(desired, name) if weighs else None
        settles = 0.0 if shared is None else _settles(observed, stable_name(name))
        live, held = observed.children.get(SERVICE, {}), taken(own, others)
        desired = with_routes(service, observed.service, desired, kinds, held, shared, settles, live)
    return _without_others(name, observed, _spared(name, observed, desired))


def _entry(observed: Observed, desired: Desired) -> str:
    """Return the component that callers are led to: a transformer once it serves, where the predictor did before it."""
    if desired.beside(TRANSFORMER) is None:
        return PREDICTOR
    name = key_of(observed.service).name
    front = component_name(name, TRANSFORMER)
    # A Service of that name that is somebody else's leads elsewhere.
    if deployment_facts(observed, front).available and front in observed.children.get(SERVICE, {}):
        return TRANSFORMER
    told = text_at(observed.service, "status", "address", "url")
    return PREDICTOR if f"//{predictor_name(name)}." in told else TRANSFORMER


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
    beside = [component_name(service, component) for component in BESIDE]
    gone = (canary_name(service), *(name for name in beside if not _is_planned(desired, name)))
    if not any(any(leads_to(route, name) for name in gone) or not followed(route) for route in routes):
        return desired
    kept = {(kind, name) for kind in (DEPLOYMENT, SERVICE) for name in beside}
    kept |= {(CONFIG_MAP, runtime_config_name(service, component)) for component in BESIDE}
    kept |= {
        (DEPLOYMENT, canary_name(service)),
        (CONFIG_MAP, runtime_config_of_canary(service)),
        (SERVICE, canary_name(service)),
        (SERVICE, stable_name(service)),
    }
    return replace(desired, spared=desired.spared | kept)


def _is_planned(desired: Desired, deployment: str) -> bool:
    return any(c.kind is DEPLOYMENT and key_of(c.manifest).name == deployment for c in desired.all_children)


def _without_others(service: str, observed: Observed, desired: Desired) -> Desired:
    """Take pods that are to have no share out of cluster DNS at once, where the others can be told from them.

    Those that are deleted leave it a moment later by themselves; those that a Gateway leads to, once it has followed.
    """
    name = canary_name(service)
    if _is_planned(desired, name) or (desired.split is not None and desired.split.stands_in):
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
