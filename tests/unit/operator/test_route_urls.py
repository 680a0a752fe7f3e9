"""At which URL a route answers: only where what is said of it is about it as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pillion.resources import InferenceService
from pillion_operator.judge.routes import ways
from pillion_operator.judge.status import facts_of
from pillion_operator.state.kinds import HTTP_ROUTE, INGRESS
from pillion_operator.state.manifest import Key
from pillion_operator.state.observed import Observed, Outcome
from pillion_operator.state.plan import Desired, Endpoints, ReplicaBounds
from pillion_operator.state.reasons import Reason
from pillion_operator.state.routes import GatewayFacts, Listener, RoutePlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion_operator.judge.routes import Way
    from pillion_operator.state.manifest import Manifest

NAME = "iris-predictor"
EDGE = {"name": "edge", "namespace": "ns"}


def way(kind: Any, route: Manifest, gateway: GatewayFacts | None = None, before: str = "http://inside") -> Way:
    """The way of HTTP by this route, of a service whose status has told that URL so far."""
    manifest: Any = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "ns", "uid": "u", "generation": 3},
        "spec": {"predictor": {"sklearn": {"storageUri": "s3://models/iris"}}},
        "status": {"url": before},
    }
    plan = RoutePlan(http=(kind.name, NAME), gateway=None if kind is INGRESS else Key("ns", "edge"))
    observed = Observed(manifest, {kind: {NAME: route}}, gateway=gateway)
    desired = Desired((), ReplicaBounds(1, None), Endpoints("http://inside", ""), routes=plan)
    return ways(facts_of(InferenceService.from_api(manifest), observed, desired, Outcome()))[0]


def http_route(hosts: Sequence[str], *, seen: int = 2, parent: Any = None) -> Manifest:
    """A route in its second generation, of which a controller has taken up the given one."""
    spec: Any = {"parentRefs": [{"name": "edge"}], **({"hostnames": list(hosts)} if hosts else {})}
    conditions = [{"type": one, "status": "True", "observedGeneration": seen} for one in ("Accepted", "ResolvedRefs")]
    status: Any = {"parents": [{"parentRef": parent or EDGE, "conditions": conditions}]}
    return {"metadata": {"name": NAME, "namespace": "ns", "generation": 2}, "spec": spec, "status": status}


def edge(*hostnames: str) -> GatewayFacts:
    listeners = (Listener(f"l{place}", "HTTP", 80, one) for place, one in enumerate(hostnames))
    return GatewayFacts(found=True, listeners=tuple(listeners), addresses=("192.0.2.1",))


def test_a_changed_host_is_told_once_the_gateway_has_taken_it_up() -> None:
    waiting = way(HTTP_ROUTE, http_route(["new.example.com"], seen=1), edge(""), "http://old.example.com")

    assert "" == waiting.url
    assert waiting.problem is not None
    assert Reason.WAITING_FOR_ROUTE == waiting.problem.reason
    assert "http://new.example.com" == way(HTTP_ROUTE, http_route(["new.example.com"]), edge("")).url


def test_weights_that_change_leave_the_url_what_it_is() -> None:
    told = "http://iris.example.com"

    assert told == way(HTTP_ROUTE, http_route(["iris.example.com"], seen=1), edge(""), told).url


def test_what_another_gateway_said_of_the_route_before_counts_no_more() -> None:
    route = http_route(["iris.example.com"], parent={"name": "former", "namespace": "ns"})

    found = way(HTTP_ROUTE, route, edge(""))

    assert "" == found.url
    assert found.problem is not None
    assert "no controller of the Gateway 'edge' has said anything" in found.problem.text


@pytest.mark.parametrize(
    ("url", "hosts", "listeners"),
    [
        ("http://192.0.2.1", [], [""]),
        ("http://192.0.2.1", [], ["*.example.com", ""]),
        # Who asks by the address asks for no host that would be answered.
        ("", [], ["*.example.com"]),
        ("", ["*.example.com"], [""]),
        ("http://a.example.com", ["*.example.com"], ["a.example.com"]),
        ("http://b.example.org", ["*.example.com", "b.example.org"], [""]),
        # Of several hosts one is enough for the Gateway to take the route.
        ("http://b.example.org", ["a.example.com", "b.example.org"], ["*.example.org"]),
    ],
)
def test_the_url_is_one_that_the_gateway_answers(url: str, hosts: list[str], listeners: list[str]) -> None:
    found = way(HTTP_ROUTE, http_route(hosts), edge(*listeners))

    assert (url, None) == (found.url, found.problem)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://192.0.2.1", [""]),
        ("", ["*.example.com"]),
        ("http://iris.example.com", ["*.example.com", "iris.example.com"]),
    ],
)
def test_the_url_is_one_that_the_ingress_answers(url: str, hosts: list[str]) -> None:
    rules: Any = [{"host": host} if host else {} for host in hosts]
    status: Any = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}

    found = way(INGRESS, {"metadata": {"name": NAME}, "spec": {"rules": rules}, "status": status})

    assert (url, None) == (found.url, found.problem)
