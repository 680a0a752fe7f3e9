"""Shares of requests by a Gateway's weights. The tests play the kubelet and the Gateway's controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.definitions import eventually as established
from tests.integration.operator.gateways import HTTP, answer, create_gateway, gateway_api
from tests.integration.operator.harness import Api, Object, OperatorProcess, eventually, running
from tests.integration.operator.kubelet import make_ready, pods
from tests.integration.operator.test_canaries import CANARY, canary, counts, rolled_out
from tests.integration.operator.test_rolling_back import change, names, states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

STABLE = "iris-predictor-stable"
#: What there is of two revisions beside the Deployment and the Service that every service has.
VARIANTS = (("Deployment", CANARY), ("Service", CANARY), ("Service", STABLE))


@pytest.fixture(scope="module")
def operator(
    cluster: ControlPlane, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """An operator that finds the definitions at its start: how it takes up new ones is tested with routes."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with gateway_api(cluster):
        definitions = [f"crd/{plural}.gateway.networking.k8s.io" for plural in ("gateways", "httproutes", "grpcroutes")]
        # It fails at once while a definition has no conditions yet.
        established(lambda: cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *definitions))
        with running(operator_kubeconfig, log, lease_namespace="pillion-system") as process:
            yield process.wait_leading()


def routed(api: Api, namespace: str, **predictor: Any) -> None:
    """A service behind a Gateway whose first revision has been rolled out."""
    create_gateway(api, namespace, HTTP)
    rolled_out(api, namespace, **predictor)
    asked = {
        "gateway": {"name": "edge"},
        "hosts": [f"{namespace}.example.com"],
        "grpcHosts": [f"{namespace}.example.net"],
    }
    api.patch("InferenceService", namespace, "iris", {"spec": {"networking": asked}})
    followed(api, namespace)


def followed(api: Api, namespace: str) -> Object:
    """The Gateway takes up the newest spec of both routes; the one of HTTP."""
    answer(api, "GRPCRoute", namespace)
    return answer(api, "HTTPRoute", namespace)


def weights(route: Object) -> dict[str, int]:
    return {one["name"]: one["weight"] for one in route["spec"]["rules"][0]["backendRefs"]}


def current(api: Api, namespace: str) -> dict[str, int]:
    route = api.get("HTTPRoute", namespace, "iris-predictor")
    assert route is not None
    return weights(route)


def chosen(api: Api, namespace: str, name: str) -> set[str]:
    """The revisions whose pods a Service leads to."""
    selector = (api.get("Service", namespace, name) or {"spec": {"selector": {"": ""}}})["spec"]["selector"].items()
    labels = [pod["metadata"]["labels"] for pod in pods(api, namespace)]
    return {one.get("serving.pillion.dev/variant", "") for one in labels if selector <= one.items()}


def weighed(api: Api, namespace: str, newest: int, *, of: str = "HTTPRoute") -> Object:
    """The route, once it gives the newest revision that share."""

    def look() -> Object | None:
        make_ready(api, namespace)
        route = api.get(of, namespace, "iris-predictor")
        return route if route and weights(route).get(CANARY) == newest else None

    found = eventually(look)
    assert found is not None
    return found


def test_weights_are_exact_where_pods_are_too_few_and_wait_for_the_pods(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    routed(api, namespace)
    change(api, namespace, timeout=7, canaryTrafficPercent=10)
    # Nobody is sent where there is no pod yet.
    eventually(lambda: current(api, namespace) == {STABLE: 100, CANARY: 0})

    route = weighed(api, namespace, 10)
    assert {STABLE: 90, CANARY: 10} == weights(route) == weights(weighed(api, namespace, 10, of="GRPCRoute"))
    # Until the Gateway has taken them up, the status speaks of pods.
    eventually(lambda: "not taken the weights up" in canary(api, namespace).get("mechanism", ""))
    assert (1, 1) == counts(api, namespace)
    followed(api, namespace)
    mechanism = "weights: 10 of 100 at the Gateway; by cluster DNS replicas: 1 of 2 pods"
    eventually(lambda: canary(api, namespace) == {"requested": 10, "actual": 10, "mechanism": mechanism})


def test_a_header_leads_a_tester_to_one_revision(operator: OperatorProcess, api: Api, namespace: str) -> None:
    routed(api, namespace)
    change(api, namespace, timeout=7, canaryTrafficPercent=10)

    http, grpc = weighed(api, namespace, 10), weighed(api, namespace, 10, of="GRPCRoute")

    for route in (http, grpc):
        rules = route["spec"]["rules"][1:]
        asked = [rule["matches"][0]["headers"][0] for rule in rules]
        assert [("pillion-variant", "stable"), ("pillion-variant", "canary")] == [
            (one["name"], one["value"]) for one in asked
        ]
        assert [STABLE, CANARY] == [rule["backendRefs"][0]["name"] for rule in rules]
    # Each Service has the pods of its own revision, and the one of cluster DNS has both.
    wanted = {STABLE: {"stable"}, CANARY: {"canary"}, "iris-predictor": {"stable", "canary"}}
    eventually(lambda: wanted == {name: chosen(api, namespace, name) for name in wanted})


def test_what_the_gateway_still_leads_to_stays_until_it_has_followed(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    routed(api, namespace, minReplicas=2)
    change(api, namespace, timeout=7, canaryTrafficPercent=50)
    weighed(api, namespace, 50)
    followed(api, namespace)
    eventually(lambda: canary(api, namespace).get("mechanism", "").startswith("weights: 50"))

    change(api, namespace, canaryTrafficPercent=None)
    eventually(lambda: states(api, namespace) == {1: "RolledOut", 2: "RolledOut"} or not make_ready(api, namespace))
    # The route leads to all pods again, and the Gateway does not know yet.
    eventually(lambda: current(api, namespace) == {"iris-predictor": 1})
    eventually(lambda: (api.get("InferenceService", namespace, "iris") or {})["status"].get("canary") is None)
    assert all(api.get(kind, namespace, name) for kind, name in VARIANTS)

    followed(api, namespace)

    eventually(lambda: not any(api.get(kind, namespace, name) for kind, name in VARIANTS))
    assert names(api, namespace)


def test_cluster_dns_lets_go_of_what_has_lost_its_share_before_the_gateway_has_followed(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    routed(api, namespace, minReplicas=2)
    change(api, namespace, timeout=7, canaryTrafficPercent=50)
    weighed(api, namespace, 50)
    followed(api, namespace)
    eventually(lambda: canary(api, namespace).get("mechanism", "").startswith("weights: 50"))
    assert {"stable", "canary"} == chosen(api, namespace, "iris-predictor")
    change(api, namespace, canaryTrafficPercent=0)

    eventually(lambda: chosen(api, namespace, "iris-predictor") == {"stable"})
    # Its pods are there as long as the Gateway may send somebody.
    assert (2, 2) == counts(api, namespace)
    followed(api, namespace)
    eventually(lambda: not any(api.get(kind, namespace, name) for kind, name in VARIANTS))
    selector = {"serving.pillion.dev/inferenceservice": "iris", "serving.pillion.dev/component": "predictor"}
    eventually(lambda: (api.get("Service", namespace, "iris-predictor") or {})["spec"]["selector"] == selector)
