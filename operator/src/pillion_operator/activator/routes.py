"""Which port of the activator stands for which port of which Service, and where that Service's pods are. Pure.

All of it is in EndpointSlices: those that the operator writes are the map, those of Kubernetes' own controller say
which pods are Ready. Both carry the label of the InferenceService: the controller copies the labels of the Service.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pillion_operator.state.manifest import (
    Manifest,
    key_of,
    labels_of,
    number_at,
    object_at,
    objects_at,
    text_at,
    value_at,
)
from pillion_operator.state.names import ENDPOINTS_MANAGER, ENDPOINTS_MANAGER_LABEL, SERVICE_NAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Claim", "Route", "Target", "routes_in", "targets_in"]


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """A port of a Service. The Deployment behind it has the Service's name."""

    namespace: str
    service: str
    port: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a pod listens."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A port that two Services claim: `kept` had it first."""

    port: int
    kept: Route
    refused: Route


def _is_ours(manifest: Manifest) -> bool:
    return labels_of(manifest).get(ENDPOINTS_MANAGER_LABEL) == ENDPOINTS_MANAGER


def routes_in(
    slices: Iterable[Manifest], held: Mapping[int, Route] = MappingProxyType({})
) -> tuple[dict[int, Route], tuple[Claim, ...]]:
    """Return the map from ports of the activator, and the claims that it cannot hold; `held` is the map until now."""
    ours = [one for one in slices if _is_ours(one)]
    # Who was first keeps the port: a slice that somebody makes later must not take over another one's callers, nor one
    # that is older and was changed to claim the port.
    ours.sort(key=lambda one: (text_at(one, "metadata", "creationTimestamp"), key_of(one)))
    claims = [claim for one in ours for claim in _claims(one)]
    found = {port: route for port, route in claims if held.get(port) == route}
    refused: list[Claim] = []
    for port, route in claims:
        if found.setdefault(port, route) != route:
            refused.append(Claim(port, found[port], route))
    return found, tuple(refused)


def _claims(manifest: Manifest) -> Iterable[tuple[int, Route]]:
    service = labels_of(manifest).get(SERVICE_NAME_LABEL, "")
    for entry in objects_at(manifest, "ports"):
        yield number_at(entry, "port"), Route(key_of(manifest).namespace, service, text_at(entry, "name"))


def targets_in(slices: Iterable[Manifest], route: Route) -> tuple[Target, ...]:
    """Return where Ready pods listen for the port of the Service. Source: discovery.k8s.io/v1 EndpointSlice."""
    found: dict[Target, None] = {}
    for one in slices:
        if _is_ours(one) or key_of(one).namespace != route.namespace:
            continue
        if labels_of(one).get(SERVICE_NAME_LABEL) != route.service:
            continue
        ports = [number_at(entry, "port") for entry in objects_at(one, "ports") if text_at(entry, "name") == route.port]
        for endpoint in objects_at(one, "endpoints"):
            # Nothing said means Ready.
            if object_at(endpoint, "conditions").get("ready") is False:
                continue
            addresses = value_at(endpoint, "addresses")
            for address in addresses if isinstance(addresses, list) else ():
                found |= {Target(str(address), port): None for port in ports}
    return tuple(found)
