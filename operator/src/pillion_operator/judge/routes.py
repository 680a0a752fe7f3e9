"""What the status of a route says: whether it is taken up, at which address, and what stands in the way.

Source: Gateway API, RouteParentStatus and its conditions; networking/v1 IngressStatus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import GATEWAY_ROUTES, HTTP_ROUTE, INGRESS, ROUTES, TLS_ROUTE
from pillion_operator.state.manifest import generation_of, number_at, object_at, objects_at, text_at, value_at
from pillion_operator.state.names import canary_name
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion.resources import JsonObject
    from pillion_operator.judge.facts import Facts
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.routes import GatewayFacts, RoutePlan

__all__ = ["Way", "concerns", "followed", "leads_to", "share_in_effect", "share_of", "ways", "weighed"]

_PORTS: Final = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
_ABOUT: Final = tuple(f"{kind.name}/" for kind in ROUTES)


@dataclass(frozen=True, slots=True)
class Way:
    """One route: where it answers, or what keeps it from answering."""

    url: str = ""
    problem: Problem | None = None


def concerns(problem: Problem) -> bool:
    """Whether a problem is about a route, and not about the pods."""
    return problem.location.startswith(_ABOUT)


def ways(facts: Facts) -> tuple[Way, Way]:
    """Return the ways of HTTP and of gRPC."""
    plan = facts.desired.routes
    if plan is None:
        return Way(), Way()
    return _way(facts, plan, plan.http, grpc=False), _way(facts, plan, plan.grpc, grpc=True)


def _way(facts: Facts, plan: RoutePlan, called: tuple[str, str], *, grpc: bool) -> Way:
    kind = next((kind for kind in ROUTES if kind.name == called[0]), None)
    if kind is None:
        return Way()
    route = facts.observed.children.get(kind, {}).get(called[1])
    if route is None:
        refused = next((one for one in facts.outcome.problems if one.location == "/".join(called)), None)
        waiting = Problem(Reason.WAITING_FOR_ROUTE, f"{kind.name} {called[1]!r} has not been made yet")
        return Way(problem=refused or waiting)
    if kind is INGRESS:
        return _ingress(route, plan)
    problem = _unaccepted(kind, route)
    if problem is not None:
        return Way(problem=problem)
    url = _url(kind, route, plan, facts.observed.gateway, grpc=grpc)
    status = object_at(facts.observed.service, "status")
    before = text_at(status, "components", facts.desired.entry, "grpcUrl") if grpc else text_at(status, "url")
    if url and url != before and _behind(route):
        # It answers as it did before: only weights may have changed, or the address that is told is the new one.
        text = f"the Gateway has not taken up the newest {kind.name} {called[1]!r} yet"
        return Way(problem=Problem(Reason.WAITING_FOR_ROUTE, text, "/".join(called)))
    return Way(url)


def _ingress(route: Manifest, plan: RoutePlan) -> Way:
    told = objects_at(route, "status", "loadBalancer", "ingress")
    name = text_at(route, "metadata", "name")
    if not told:
        given = text_at(route, "spec", "ingressClassName")
        whose = f"of the class {given!r}" if given else "of the cluster's default class"
        text = f"Ingress {name!r} {whose} has been given no address yet"
        return Way(problem=Problem(Reason.WAITING_FOR_ROUTE, text, f"{INGRESS.name}/{name}"))
    hosts = [text_at(rule, "host") for rule in objects_at(route, "spec", "rules")]
    scheme = "https" if objects_at(route, "spec", "tls") else "http"
    named = next(filter(None, map(_plain, hosts)), "")
    # By its address only what names no host is reached.
    address = text_at(told[0], "hostname") or text_at(told[0], "ip") if "" in hosts else ""
    return Way(_address(scheme, named or address, 0, plan.path) if named or address else "")


def _unaccepted(kind: Kind, route: Manifest) -> Problem | None:
    name = text_at(route, "metadata", "name")
    where = f"{kind.name}/{name}"
    parents = _told(route)
    if not parents:
        parent = objects_at(route, "spec", "parentRefs")
        gateway = text_at(parent[0], "name") if parent else ""
        text = f"no controller of the Gateway {gateway!r} has said anything about {kind.name} {name!r} yet"
        return Problem(Reason.WAITING_FOR_ROUTE, text, where)
    for condition in ("Accepted", "ResolvedRefs"):
        told = [_condition(parent, condition) for parent in parents]
        # Several controllers may look at a route; that of the Gateway is the one that takes it.
        if not any(one.get("status") == "True" for one in told):
            said = next((one for one in told if one), {})
            text = (
                f"the Gateway does not take {kind.name} {name!r}: {condition} is {text_at(said, 'status') or 'absent'}"
            )
            text += f", {text_at(said, 'reason')}: {text_at(said, 'message')}" if said else ""
            return Problem(Reason.ROUTE_NOT_ACCEPTED, text, where)
    return None


def _told(route: Manifest) -> list[JsonObject]:
    """Return what is said of the route at the very Gateway that it names: another may not have let go of it yet."""
    named = [_parent(route, one) for one in objects_at(route, "spec", "parentRefs")]
    said = objects_at(route, "status", "parents")
    return [one for one in said if _parent(route, object_at(one, "parentRef")) in named]


def _parent(route: Manifest, reference: Manifest) -> tuple[str, str, str]:
    namespace = text_at(reference, "namespace") or text_at(route, "metadata", "namespace")
    return namespace, text_at(reference, "name"), text_at(reference, "sectionName")


def _behind(route: Manifest) -> bool:
    """Whether what is said of the route is about a former spec."""
    seen = max((number_at(_condition(one, "Accepted"), "observedGeneration") for one in _told(route)), default=0)
    return 0 < seen < generation_of(route)


def followed(route: Manifest) -> bool:
    """Whether what makes the way in has taken up the newest spec of a route; also where nobody ever looked at it."""
    seen = [
        number_at(_condition(parent, "Accepted"), "observedGeneration")
        for parent in objects_at(route, "status", "parents")
    ]
    return not seen or max(seen) >= generation_of(route)


def leads_to(route: Manifest, service: str) -> bool:
    """Whether a rule of the route names that Service."""
    return any(text_at(backend, "name") == service for backend in _backends(route))


def share_of(route: Manifest, service: str) -> int | None:
    """Return the percentage that the first rule gives that Service; None where it gives it none."""
    rules = objects_at(route, "spec", "rules")
    found = objects_at(rules[0], "backendRefs") if rules else []
    weights = {text_at(backend, "name"): number_at(backend, "weight", default=1) for backend in found}
    total = sum(weights.values())
    return round(100 * weights[service] / total) if service in weights and total else None


def weighed(facts: Facts) -> bool:
    """Whether the routes that are planned share requests out by weights."""
    planned = (child.manifest for child in facts.desired.children if child.kind in GATEWAY_ROUTES)
    return any(leads_to(route, canary_name(facts.service.metadata.name or "")) for route in planned)


def share_in_effect(facts: Facts) -> int | None:
    """Return the percentage that the Gateway gives the newest revision; None where none of its routes says so."""
    plan, service = facts.desired.routes, facts.service.metadata.name or ""
    if plan is None or plan.gateway is None:
        return None
    for called in (plan.http, plan.grpc):
        kind = next((kind for kind in GATEWAY_ROUTES if kind.name == called[0]), None)
        route = None if kind is None else facts.observed.children.get(kind, {}).get(called[1])
        if kind is None or route is None or _unaccepted(kind, route) is not None or not followed(route):
            continue
        share = share_of(route, canary_name(service))
        if share is not None:
            return share
    return None


def _backends(route: Manifest) -> Iterable[JsonObject]:
    for rule in objects_at(route, "spec", "rules"):
        yield from objects_at(rule, "backendRefs")


def _condition(parent: Manifest, kind: str) -> JsonObject:
    return next((one for one in objects_at(parent, "conditions") if one.get("type") == kind), {})


def _url(kind: Kind, route: Manifest, plan: RoutePlan, gateway: GatewayFacts | None, *, grpc: bool) -> str:
    """Return where the route answers by what its Gateway listens on; empty where that is not known."""
    if gateway is None:
        return ""
    given = value_at(object_at(route, "spec"), "hostnames")
    hosts = [text for text in given if isinstance(text, str)] if isinstance(given, list) else [""]
    protocols = ("TLS",) if kind is TLS_ROUTE else ("HTTPS", "HTTP")
    fitting = [
        (one, host)
        for host in hosts
        for one in gateway.listeners
        if one.protocol in protocols and plan.section in {"", one.name} and _covers(one.hostname, host)
    ]
    for listener, host in sorted(fitting, key=lambda one: protocols.index(one[0].protocol)):
        # By the Gateway's address only what names no host is reached.
        address = "" if host or listener.hostname else next(iter(gateway.addresses), "")
        name = _plain(host) or _plain(listener.hostname) or address
        secure = listener.protocol in {"HTTPS", "TLS"}
        scheme = ("grpcs" if secure else "grpc") if grpc else ("https" if secure else "http")
        if name:
            return _address(scheme, name, listener.port, plan.path if kind is HTTP_ROUTE else "/")
    return ""


def _covers(pattern: str, host: str) -> bool:
    if not pattern or not host or pattern == host:
        return True
    wide, narrow = (pattern, host) if pattern.startswith("*.") else (host, pattern)
    return wide.startswith("*.") and narrow.removeprefix("*").endswith(wide[1:])


def _plain(host: str) -> str:
    return "" if host.startswith("*.") else host


def _address(scheme: str, host: str, port: int, path: str) -> str:
    name = f"[{host}]" if ":" in host else host
    shown = f":{port}" if port and (scheme.startswith("grpc") or port != _PORTS[scheme]) else ""
    return f"{scheme}://{name}{shown}{path if path != '/' else ''}"
