"""The way in from outside the cluster: an Ingress, or routes of the Gateway API.

Source: networking/v1 IngressSpec; Gateway API v1, HTTPRoute, GRPCRoute and TLSRoute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pillion_operator.builders.claims import plain_path, values_of
from pillion_operator.builders.shares import backends, tester_rules, variant_services
from pillion_operator.state.kinds import GRPC_ROUTE, HTTP_ROUTE, INGRESS, SERVICE, TLS_ROUTE, Kind
from pillion_operator.state.manifest import Key, array, key_of, number_at, object_at, objects_at, text_at
from pillion_operator.state.names import EXPLAINER, GRPC_PORT, component_name, predictor_name
from pillion_operator.state.plan import Child, Note, Problem
from pillion_operator.state.reasons import Reason
from pillion_operator.state.routes import RoutePlan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.resources import InferenceService, JsonObject, NetworkingSpec
    from pillion_operator.builders.shares import Shares
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Desired
    from pillion_operator.state.routes import Claim

__all__ = ["with_routes"]

#: A host name, or `*.` and one. Source: Gateway API, Hostname.
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
#: The server knows how long each request may take; a Gateway that is told nothing may cut it off sooner.
#: Source: Gateway API, HTTPRouteTimeouts: zero switches the limit off.
_NO_LIMIT: Final = "0s"
_UNEXPLAINED: Final = (
    "spec.explainer from outside (with spec.networking.tls.mode Passthrough nobody sees paths; inside the cluster it "
    "answers at its own Service)"
)
#: What a prefix of a path may hold. Source: Gateway API, HTTPPathMatch.
_PATH: Final = re.compile(r"/|(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")


def with_routes(
    service: InferenceService,
    stored: Manifest,
    desired: Desired,
    kinds: frozenset[Kind],
    taken: Mapping[Claim, Key],
    shares: Shares | None = None,
    settles: float = 0.0,
    live: Mapping[str, Manifest] | None = None,
) -> Desired:
    """Return the plan with the way in that the manifest asks for.

    Args:
        service: as parsed.
        stored: the same as stored.
        desired: the plan so far.
        kinds: those of the optional kinds that the cluster has.
        taken: claims of this service that are somebody else's.
        shares: of requests, where two revisions answer them.
        settles: seconds until the Services of the two may be led to.
        live: Services by their names, for one that cannot be planned and stays.
    """
    asked = service.spec.networking
    if asked is None:
        return desired
    if not desired.complete:
        return replace(desired, routes=RoutePlan())
    builder = _Builder(asked, stored, desired, kinds, taken, shares, settles, live or {})
    children, plan, notes = builder.build()
    return replace(desired, children=(*desired.children, *children), routes=plan, notes=(*desired.notes, *notes))


@dataclass(frozen=True, slots=True)
class _Hosts:
    """Hosts that are free, and what is wrong with the others."""

    free: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A route of the Gateway API to make."""

    kind: Kind
    name: str
    hosts: tuple[str, ...]
    port: int


class _Builder:
    def __init__(
        self,
        asked: NetworkingSpec,
        stored: Manifest,
        desired: Desired,
        kinds: frozenset[Kind],
        taken: Mapping[Claim, Key],
        shares: Shares | None,
        settles: float,
        live: Mapping[str, Manifest],
    ) -> None:
        self._asked = asked
        self._stored = stored
        self._kinds = kinds
        self._taken = {(claim.host, claim.path): owner for claim, owner in taken.items()}
        self._shares, self._settles = shares, settles
        self._weights = None if settles else shares
        self._values = values_of(stored)
        self._path = plain_path(self._values.fill(asked.path or "/"))
        self._name = predictor_name(key_of(stored).name)
        self._service = _service(desired, self._name)
        self._entry, self._front = desired.entry, component_name(key_of(stored).name, desired.entry)
        explainer = component_name(key_of(stored).name, EXPLAINER)
        # A rule that leads to no Service makes a Gateway refuse the route.
        there = desired.beside(EXPLAINER) is not None and (_service(desired, explainer) or explainer in live)
        self._explains = _explain_path(key_of(stored).name) if there else ""
        self._explainer: JsonObject = {"name": explainer, "port": _first_port(desired, explainer)}
        front = _service(desired, self._front) or live.get(self._front, {})
        ports = objects_at(front, "spec", "ports")
        self._secure = any(text_at(port, "name") == "https" for port in ports)
        self._port = next((number_at(port, "port") for port in ports if text_at(port, "name") != "grpc"), 80)
        self._has_grpc = any(text_at(port, "name") == "grpc" for port in ports)

    def build(self) -> tuple[list[Child], RoutePlan, list[Note]]:
        """Return the routes, what they come to, and what of the manifest has no effect."""
        if not _PATH.fullmatch(self._path):
            text = f"spec.networking.path {self._path!r} is no path of plain segments"
            return [], RoutePlan(problems=(_invalid(text, "spec.networking.path"),)), []
        http = self._hosts(self._asked.hosts, "hosts", self._path)
        grpc = self._hosts(self._asked.grpc_hosts, "grpcHosts", "/")
        both = sorted(set(http.free) & set(grpc.free))
        if both:
            text = (
                f"spec.networking.grpcHosts has {both[0]!r}, which is one of hosts: two kinds of routes cannot share it"
            )
            return [], RoutePlan(problems=(_invalid(text, "spec.networking.grpcHosts"),)), []
        gateway = self._asked.gateway
        if gateway is None:
            return self._ingress(http)
        key = Key(gateway.namespace or key_of(self._stored).namespace, gateway.name)
        plan = RoutePlan(
            self._path, gateway=key, section=gateway.section_name or "", problems=(*http.problems, *grpc.problems)
        )
        return self._gateway(plan, http.free, grpc.free)

    def _hosts(self, asked: Sequence[str] | None, field: str, path: str) -> _Hosts:
        """Return the hosts with their placeholders filled; a single empty one stands for every host."""
        free: list[str] = []
        problems: list[Problem] = []
        for host in asked or ([""] if field == "hosts" else []):
            name = self._values.fill(host).lower()
            owner = self._taken.get((name, path))
            if name and (len(name) > 253 or not _HOST.fullmatch(name)):
                text = f"spec.networking.{field} has {name!r}, which is no host name"
                problems.append(_invalid(text, f"spec.networking.{field}"))
            elif owner is not None:
                below = f" below {path}" if path != "/" else ""
                text = f"{name or 'every host'}{below} belongs to InferenceService {owner}, which was first"
                problems.append(Problem(Reason.HOST_TAKEN, text, f"spec.networking.{field}", transient=False))
            elif name not in free:
                free.append(name)
        return _Hosts(tuple(free), tuple(problems))

    def _ingress(self, hosts: _Hosts) -> tuple[list[Child], RoutePlan, list[Note]]:
        plan = RoutePlan(self._path, problems=hosts.problems)
        if INGRESS not in self._kinds:
            return [], replace(plan, problems=(*plan.problems, _not_served(INGRESS))), []
        if not hosts.free:
            return [], plan, []
        backend: JsonObject = {"service": {"name": self._front, "port": {"number": self._port}}}
        paths: list[JsonObject] = [{"path": self._path, "pathType": "Prefix", "backend": backend}]
        if self._explains:
            name, port = self._explainer["name"], self._explainer["port"]
            explained: JsonObject = {"service": {"name": name, "port": {"number": port}}}
            # Of exact paths some controllers refuse the colon, and with it the whole Ingress.
            kind = "ImplementationSpecific"
            paths.append({"path": self._below(self._explains), "pathType": kind, "backend": explained})
        behind: JsonObject = {"http": {"paths": array(paths)}}
        rules = [behind | ({"host": host} if host else {}) for host in hosts.free]
        spec: JsonObject = {"rules": array(rules)}
        if self._asked.class_name:
            spec["ingressClassName"] = self._asked.class_name
        if self._asked.tls is not None:
            secret = self._asked.tls.secret_name
            named = [host for host in hosts.free if host]
            ends: JsonObject = {"hosts": array(named)}
            spec["tls"] = array([ends | ({"secretName": secret} if secret else {})])
        plan = replace(plan, http=(INGRESS.name, self._name))
        return [Child(INGRESS, self._manifest(INGRESS, self._name, spec))], plan, self._untaken()

    def _untaken(self) -> list[Note]:
        """Say that the path stays, unless the server knows of it."""
        http = object_at(self._stored, "spec", self._entry, "http")
        if self._path == "/" or plain_path(text_at(http, "rootPath") or "/") == self._path:
            return []
        text = "spec.networking.path (an Ingress does not take it off again, and requests arrive with it: set "
        return [Note(Reason.FIELDS_NOT_HONOURED, f"{text}spec.{self._entry}.http.rootPath to it too)")]

    def _gateway(
        self, plan: RoutePlan, http: tuple[str, ...], grpc: tuple[str, ...]
    ) -> tuple[list[Child], RoutePlan, list[Note]]:
        through = self._asked.passes_through
        if through != self._secure:
            return [], replace(plan, problems=(*plan.problems, _other_tls(through=through))), []
        notes = [Note(Reason.FIELDS_NOT_HONOURED, _UNEXPLAINED)] if through and self._explains else []
        if grpc and not self._has_grpc:
            # Who comes by HTTP is led on all the same.
            text = f"spec.networking.grpcHosts: the {self._entry} has no port for gRPC"
            plan = replace(plan, problems=(*plan.problems, _invalid(text, "spec.networking.grpcHosts")))
            grpc = ()
        wanted: list[_Wanted] = []
        if http:
            wanted.append(_Wanted(TLS_ROUTE if through else HTTP_ROUTE, self._name, http, self._port))
        if grpc:
            kind, name = (TLS_ROUTE, f"{self._name}-grpc") if through else (GRPC_ROUTE, self._name)
            wanted.append(_Wanted(kind, name, grpc, GRPC_PORT))
        missing = (one.kind for one in wanted if one.kind not in self._kinds)
        problems = (*plan.problems, *(_not_served(kind) for kind in dict.fromkeys(missing)))
        made = [one for one in wanted if one.kind in self._kinds]
        plan = replace(
            plan,
            problems=problems,
            http=next(((one.kind.name, one.name) for one in made if one.hosts is http), ("", "")),
            grpc=next(((one.kind.name, one.name) for one in made if one.hosts is grpc), ("", "")),
        )
        children = [self._route(one) for one in made]
        if children and self._shares is not None:
            # Before the routes that name them.
            children = [*variant_services(self._service, key_of(self._stored).name), *children]
            plan = replace(plan, settles=self._settles)
        return children, plan, notes

    def _route(self, wanted: _Wanted) -> Child:
        parent = self._asked.gateway.to_api() if self._asked.gateway else {}
        rules = self._rules(wanted.kind, wanted.port)
        spec: JsonObject = {"parentRefs": array([parent]), "rules": array(rules)}
        if wanted.hosts != ("",):
            spec["hostnames"] = array(wanted.hosts)
        return Child(wanted.kind, self._manifest(wanted.kind, wanted.name, spec))

    def _rules(self, kind: Kind, port: int) -> list[JsonObject]:
        name = key_of(self._stored).name
        rule: JsonObject = {"backendRefs": array(backends(name, port, self._weights, self._entry))}
        match: JsonObject = {}
        if kind is HTTP_ROUTE:
            match = {"path": {"type": "PathPrefix", "value": self._path}}
            rule["matches"] = array([match])
            rule["timeouts"] = {"request": _NO_LIMIT}
            if self._path != "/":
                rewrite: JsonObject = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
                taken_off: JsonObject = {"type": "URLRewrite", "urlRewrite": rewrite}
                rule["filters"] = array([taken_off])
        if kind is TLS_ROUTE:
            return [rule]
        explained = [self._explain_rule()] if kind is HTTP_ROUTE and self._explains else []
        return [rule, *tester_rules(name, port, rule, match, self._weights), *explained]

    def _explain_rule(self) -> JsonObject:
        """Return the rule by which explanations are asked of the explainer: the exact path comes before any prefix."""
        match: JsonObject = {"path": {"type": "Exact", "value": self._below(self._explains)}}
        rule: JsonObject = {"matches": array([match]), "backendRefs": array([self._explainer])}
        if self._path != "/":
            rewrite: JsonObject = {"path": {"type": "ReplaceFullPath", "replaceFullPath": self._explains}}
            whole: JsonObject = {"type": "URLRewrite", "urlRewrite": rewrite}
            rule["filters"] = array([whole])
        return rule

    def _below(self, path: str) -> str:
        return path if self._path == "/" else f"{self._path}{path}"

    def _manifest(self, kind: Kind, name: str, spec: JsonObject) -> JsonObject:
        metadata = object_at(self._service, "metadata") | {"name": name}
        if self._asked.annotations:
            metadata["annotations"] = dict(self._asked.annotations)
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": spec}


def _explain_path(name: str) -> str:
    """Return where the V1 protocol has explanations of the model that is called like its service."""
    return f"/v1/models/{name}:explain"


def _service(desired: Desired, name: str) -> Manifest:
    planned = (child.manifest for child in desired.all_children if child.kind is SERVICE)
    return next((one for one in planned if key_of(one).name == name), {})


def _first_port(desired: Desired, service: str) -> int:
    ports = objects_at(_service(desired, service), "spec", "ports")
    return next((number_at(port, "port") for port in ports), 80)


def _invalid(text: str, field: str) -> Problem:
    return Problem(Reason.INVALID_SPEC, text, field, transient=False)


def _not_served(kind: Kind) -> Problem:
    text = f"this cluster serves no {kind.name} of {kind.api_version} to the operator"
    remedy = "install the Gateway API, which is taken up by itself, or see that the chart's routes.gateway is on"
    if kind is INGRESS:
        remedy = "set the chart's routes.ingress to true, or name a Gateway in spec.networking.gateway"
    return Problem(Reason.ROUTES_NOT_SERVED, text, kind.name, transient=False, remedy=remedy)


def _other_tls(*, through: bool) -> Problem:
    if through:
        text = "spec.networking.tls.mode is Passthrough, and the pods speak no TLS"
        remedy = "set spec.predictor.tls, or let TLS end at the Gateway"
    else:
        text = "the pods speak TLS (spec.predictor.tls), and what ends TLS at the Gateway speaks plain text to them"
        remedy = "set spec.networking.tls.mode: Passthrough, or remove spec.predictor.tls"
    return Problem(Reason.INVALID_SPEC, text, "spec.networking.tls.mode", transient=False, remedy=remedy)
