"""Which hosts services ask for, and who has one that several ask for. Pure.

Whoever has a route for a host keeps it; where nobody has one yet, the older service gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources import GATEWAY_CLASS
from pillion_operator.builders.placeholders import PlaceholderValues
from pillion_operator.state.kinds import INGRESS
from pillion_operator.state.manifest import (
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    object_at,
    objects_at,
    seconds_at,
    text_at,
    value_at,
)
from pillion_operator.state.routes import Claim, Claimant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Key, Manifest

__all__ = ["claimant", "claims_of", "plain_path", "taken", "values_of"]


def values_of(service: Manifest) -> PlaceholderValues:
    """Return what placeholders in hosts and paths stand for."""
    key = key_of(service)
    return PlaceholderValues(key.name, key.namespace, labels_of(service), annotations_of(service))


def plain_path(path: str) -> str:
    """Return the path without a slash at its end, `/` for everything."""
    return path.rstrip("/") or "/"


def claims_of(service: Manifest) -> frozenset[Claim]:
    """Return what a service asks for, none where it asks for no way in or is on its way out."""
    asked = object_at(service, "spec", "networking")
    if not asked or is_deleting(service):
        return frozenset()
    values, way = values_of(service), _way(service)
    path = plain_path(values.fill(text_at(asked, "path") or "/"))
    hosts = [values.fill(host).lower() for host in _texts(asked, "hosts")] or [""]
    grpc = [values.fill(host).lower() for host in _texts(asked, "grpcHosts")]
    return frozenset([*(Claim(way, host, path) for host in hosts), *(Claim(way, host, "/") for host in grpc)])


def claimant(service: Manifest, routes: Iterable[tuple[Kind, Manifest]]) -> Claimant:
    """Return a service with its claims, and those of them that its `routes` have."""
    claims, way = claims_of(service), _way(service)
    held: list[tuple[Claim, float]] = []
    for kind, route in routes:
        made = seconds_at(route, "metadata", "creationTimestamp")
        found = (Claim(way, host, path) for host, path in _routed(kind, route))
        held += [(claim, made) for claim in found if claim in claims]
    return Claimant(key_of(service), seconds_at(service, "metadata", "creationTimestamp"), claims, tuple(held))


def taken(own: Claimant, others: Iterable[Claimant]) -> Mapping[Claim, Key]:
    """Return which of one's own claims are somebody else's, and whose."""
    found: dict[Claim, Claimant] = {}
    for other in others:
        for claim in own.claims & other.claims:
            first = found.get(claim, own)
            if _order(other, claim) < _order(first, claim):
                found[claim] = other
    return {claim: other.key for claim, other in found.items()}


def _order(one: Claimant, claim: Claim) -> tuple[bool, float, Key]:
    made = [since for held, since in one.held if held == claim]
    return (not made, min(made, default=one.created), one.key)


def _way(service: Manifest) -> str:
    asked = object_at(service, "spec", "networking")
    gateway = object_at(asked, "gateway")
    if gateway:
        namespace = text_at(gateway, "namespace") or key_of(service).namespace
        return f"{GATEWAY_CLASS} {namespace}/{text_at(gateway, 'name')}"
    return f"class {text_at(asked, 'className')}"


def _routed(kind: Kind, route: Manifest) -> Iterable[tuple[str, str]]:
    """Yield the hosts of a route of ours, each with its path."""
    if kind is INGRESS:
        for rule in objects_at(route, "spec", "rules"):
            for below in objects_at(rule, "http", "paths"):
                yield text_at(rule, "host"), text_at(below, "path") or "/"
        return
    rules = objects_at(route, "spec", "rules")
    matches = objects_at(rules[0], "matches") if rules else []
    path = text_at(matches[0], "path", "value") if matches else ""
    for host in _texts(object_at(route, "spec"), "hostnames") or [""]:
        yield host, path or "/"


def _texts(manifest: Manifest, field: str) -> list[str]:
    found = value_at(manifest, field)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
