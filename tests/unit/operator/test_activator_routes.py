"""The map from ports of the activator to ports of Services, and where pods are, from EndpointSlices."""

from __future__ import annotations

from typing import Any

from pillion_operator.activator.routes import Claim, Route, Target, routes_in, targets_in


def endpoint_slice(
    service: str,
    *,
    ours: bool,
    ports: dict[str, int],
    ready: dict[str, bool | None],
    made: str = "2026-11-01T00:00:00Z",
) -> dict[str, Any]:
    manager = "pillion" if ours else "endpointslice-controller.k8s.io"
    return {
        "metadata": {
            "namespace": "shop",
            "name": f"{service}-{'activator' if ours else 'x7k2p'}",
            "creationTimestamp": made,
            "labels": {"endpointslice.kubernetes.io/managed-by": manager, "kubernetes.io/service-name": service},
        },
        "ports": [{"name": name, "port": port} for name, port in ports.items()],
        "endpoints": [
            {"addresses": [address], "conditions": {} if state is None else {"ready": state}}
            for address, state in ready.items()
        ],
    }


def test_our_slices_are_the_map_and_others_say_where_ready_pods_are() -> None:
    slices = [
        endpoint_slice("iris-predictor", ours=True, ports={"http": 20001, "grpc": 20002}, ready={"10.0.0.9": True}),
        endpoint_slice(
            "iris-predictor",
            ours=False,
            ports={"http": 8080, "grpc": 8081},
            ready={"10.0.0.1": True, "10.0.0.2": False, "10.0.0.3": None},
        ),
        endpoint_slice("other-predictor", ours=False, ports={"http": 8080}, ready={"10.0.0.4": True}),
    ]

    routes, refused = routes_in(slices)

    route = Route("shop", "iris-predictor", "http")
    assert {20001: route, 20002: Route("shop", "iris-predictor", "grpc")} == routes
    assert () == refused
    # The activator itself is no target, or it would call itself.
    assert (Target("10.0.0.1", 8080), Target("10.0.0.3", 8080)) == targets_in(slices, route)


def test_a_port_that_two_claim_stays_with_the_first() -> None:
    late = endpoint_slice("a-predictor", ours=True, ports={"http": 20001}, ready={}, made="2026-11-02T00:00:00Z")
    early = endpoint_slice("z-predictor", ours=True, ports={"http": 20001}, ready={})

    routes, refused = routes_in([late, early])

    kept, lost = Route("shop", "z-predictor", "http"), Route("shop", "a-predictor", "http")
    assert {20001: kept} == routes
    assert (Claim(20001, kept, lost),) == refused


def test_a_port_that_is_held_is_not_taken_over_by_an_older_slice_that_was_changed() -> None:
    mine = endpoint_slice("a-predictor", ours=True, ports={"http": 20001}, ready={}, made="2026-11-02T00:00:00Z")
    older = endpoint_slice("z-predictor", ours=True, ports={"http": 20001}, ready={})
    held = Route("shop", "a-predictor", "http")

    routes, refused = routes_in([older, mine], {20001: held})

    assert {20001: held} == routes
    assert (Claim(20001, held, Route("shop", "z-predictor", "http")),) == refused
    assert {20001: Route("shop", "z-predictor", "http")} == routes_in([older], {20001: held})[0]
