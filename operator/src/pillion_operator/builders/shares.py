"""Shares of requests by weights of a Gateway: a Service for each of the two revisions, and rules that name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import DEPLOYMENT, SERVICE
from pillion_operator.state.manifest import array, key_of, object_at
from pillion_operator.state.names import (
    CANARY,
    PREDICTOR,
    STABLE,
    VARIANT_LABEL,
    canary_name,
    component_name,
    predictor_name,
    stable_name,
)
from pillion_operator.state.plan import Child

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Desired

__all__ = [
    "TESTER_HEADER",
    "Shares",
    "backends",
    "of_both",
    "of_stable",
    "shares",
    "tester_rules",
    "told_apart",
    "variant_services",
]

#: By which a tester asks for one of the two, whatever the shares.
TESTER_HEADER: Final = "pillion-variant"


@dataclass(frozen=True, slots=True)
class Shares:
    """Percentages of requests."""

    stable: int
    canary: int


def shares(desired: Desired, service: str) -> Shares | None:
    """Return the shares for a Gateway; None where one revision answers all, or the two cannot be told apart."""
    split = desired.split
    if split is None or split.percent == 100 or split.canary == 0:
        return None
    if not told_apart(desired, service):
        return None
    return Shares(100 - split.weight, split.weight)


def backends(service: str, port: int, shared: Shares | None, entry: str = PREDICTOR) -> list[JsonObject]:
    """Return the Services that answer, with their weights; without shares it is that of the component in front."""
    if shared is None:
        return [{"name": component_name(service, entry), "port": port}]
    weights = ((stable_name(service), shared.stable), (canary_name(service), shared.canary))
    return [{"name": name, "port": port, "weight": weight} for name, weight in weights]


def tester_rules(
    service: str, port: int, rule: JsonObject, match: JsonObject, shared: Shares | None
) -> list[JsonObject]:
    """Return the rules by which a header asks for one revision; for the newest only once it has pods."""
    if shared is None:
        return []
    variants = [(STABLE, stable_name(service)), *([(CANARY, canary_name(service))] if shared.canary else [])]
    found: list[JsonObject] = []
    for value, name in variants:
        header: JsonObject = {"name": TESTER_HEADER, "value": value}
        asked = match | {"headers": array([header])}
        only: list[JsonObject] = [{"name": name, "port": port}]
        found.append(rule | {"matches": array([asked]), "backendRefs": array(only)})
    return found


def variant_services(service: Manifest, name: str) -> list[Child]:
    """Return the Services of each revision alone, made of the one of both."""
    found: list[Child] = []
    for variant, called in ((STABLE, stable_name(name)), (CANARY, canary_name(name))):
        metadata = object_at(service, "metadata") | {"name": called}
        found.append(Child(SERVICE, _of(variant, service) | {"metadata": metadata}))
    return found


def of_stable(service: Manifest) -> Manifest:
    """Return the Service with the last good revision's pods alone."""
    return _of(STABLE, service)


def of_both(spec: JsonObject) -> JsonObject:
    """Return the spec of a Service with the pods of both revisions."""
    selector = {name: value for name, value in object_at(spec, "selector").items() if name != VARIANT_LABEL}
    return spec | ({"selector": selector} if selector else {})


def _of(variant: str, service: Manifest) -> Manifest:
    spec = object_at(service, "spec")
    return service | {"spec": spec | {"selector": object_at(spec, "selector") | {VARIANT_LABEL: variant}}}


def told_apart(desired: Desired, service: str) -> bool:
    """Whether the last good revision's pods carry the label: those of former releases do not."""
    for child in desired.children:
        if child.kind is DEPLOYMENT and key_of(child.manifest).name == predictor_name(service):
            labels = object_at(child.manifest, "spec", "template", "metadata", "labels")
            return labels.get(VARIANT_LABEL) == STABLE
    return False
