"""The way in from outside the cluster: what is asked for, and what the plan makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Key
    from pillion_operator.state.plan import Problem

__all__ = ["Claim", "Claimant", "GatewayFacts", "Listener", "RoutePlan"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A host and path that a service asks for.

    Attributes:
        way: what makes the way in: the same host may lead elsewhere by another.
        host: empty for every host.
        path: below which it asks for everything.
    """

    way: str
    host: str
    path: str


@dataclass(frozen=True, slots=True)
class Claimant:
    """A service with what it claims.

    Attributes:
        held: claims that a route of it has already, with the time that the route was made at.
    """

    key: Key
    created: float
    claims: frozenset[Claim]
    held: tuple[tuple[Claim, float], ...] = ()


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """What the manifest asks for beyond the Service.

    Attributes:
        path: below which the service is published, `/` for everything.
        http, grpc: the kind and name of the route of each protocol, empty where there is none.
        problems: what keeps routes from being made as they were asked for.
        gateway: the Gateway that they are attached to, None for an Ingress.
        section: of the Gateway's listeners the one that is meant, empty for all.
        settles: seconds until weights may be told; zero where they are, or where there are none.
    """

    path: str = "/"
    http: tuple[str, str] = ("", "")
    grpc: tuple[str, str] = ("", "")
    problems: tuple[Problem, ...] = ()
    gateway: Key | None = None
    section: str = ""
    settles: float = 0.0


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener of a Gateway."""

    name: str
    protocol: str
    port: int
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """What is known of a Gateway.

    Attributes:
        found: whether it is there.
        forbidden: the API server's words where it may not be read.
    """

    found: bool
    forbidden: str = ""
    listeners: tuple[Listener, ...] = ()
    addresses: tuple[str, ...] = ()
