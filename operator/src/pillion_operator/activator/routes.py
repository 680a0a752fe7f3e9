"""Which port of the activator stands for which port of which Service, and where that Service's pods are. Pure.

All of it is in EndpointSlices: those that the operator writes are the map, those of Kubernetes' own controller say
which pods are Ready. Both carry the label of the InferenceService: the controller copies the labels of the Service.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pillion_operator.state.manifest import Manifest, key_of, labels_of, number_at, objects_at, text_at
from pillion_operator.state.names import ENDPOINTS_MANAGER, ENDPOINTS_MANAGER_LABEL, SERVICE_NAME_LABEL
from pillion_operator.state.slices import ready_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Claim", "Route", "Target", "claims_in", "routes_in", "targets_in"]

#: Who says where the pods of a Service are. Source: Kubernetes, "EndpointSlices", Management.
_CONTROLLER: Final = "endpointslice-controller.k8s.io"


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


def _manager(manifest: Manifest) -> str:
    return labels_of(manifest).get(ENDPOINTS_MANAGER_LABEL, "")


def routes_in(
    slices: Iterable[Manifest], held: Mapping[int, Route] = MappingProxyType({})
) -> tuple[dict[int, Route], tuple[Claim, ...]]:
    """Return the map from ports of the activator, and the claims that it cannot hold; `held` is the map until now."""
    ours = [one for one in slices if _manager(one) == ENDPOINTS_MANAGER]
    # Who was first keeps the port: a slice that somebody makes later must not take over another one's callers, nor one
    # that is older and was changed to claim the port.
    ours.sort(key=lambda one: (text_at(one, "metadata", "creationTimestamp"), key_of(one)))
    claims = [claim for one in ours for claim in claims_in(one)]
    found = {port: route for port, route in claims if held.get(port) == route}
    refused: list[Claim] = []
    for port, route in claims:
        if found.setdefault(port, route) != route:
            refused.append(Claim(port, found[port], route))
    return found, tuple(refused)


def claims_in(manifest: Manifest) -> Iterable[tuple[int, Route]]:
    """Yield the ports that one slice claims."""
    service = labels_of(manifest).get(SERVICE_NAME_LABEL, "")
    for entry in objects_at(manifest, "ports"):
        yield number_at(entry, "port"), Route(key_of(manifest).namespace, service, text_at(entry, "name"))


def targets_in(slices: Iterable[Manifest], route: Route) -> tuple[Target, ...]:
    """Return where Ready pods listen for the port of the Service. Source: discovery.k8s.io/v1 EndpointSlice."""
    found: dict[Target, None] = {}
    for one in slices:
        # Neither the activator itself, nor what somebody else says of the Service.
        if _manager(one) != _CONTROLLER or key_of(one).namespace != route.namespace:
            continue
        if labels_of(one).get(SERVICE_NAME_LABEL) != route.service:
            continue
        ports = [number_at(entry, "port") for entry in objects_at(one, "ports") if text_at(entry, "name") == route.port]
        for address in ready_in(one):
            found |= {Target(address, port): None for port in ports}
    return tuple(found)
