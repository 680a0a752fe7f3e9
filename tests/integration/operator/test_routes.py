"""The way in from outside: an Ingress, and routes of the Gateway API by its real definitions.

The tests play what makes the way in.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pillion_operator.rbac import gateway_rules, ingress_rules
from tests.integration.operator.auditing import OPERATOR, Writes
from tests.integration.operator.gateways import HTTP, HTTPS, THROUGH, answer, create_gateway, define, gateway_api
from tests.integration.operator.harness import (
    PATHS,
    Api,
    Object,
    OperatorProcess,
    audited,
    condition,
    eventually,
    inference_service,
    running,
)
from tests.integration.operator.kubelet import make_ready

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

EDGE = {"gateway": {"name": "edge"}}


@pytest.fixture(scope="module")
def operator(operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator that asks often which kinds there are."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with running(operator_kubeconfig, log, lease_namespace="pillion-system", resync_seconds="2") as process:
        yield process.wait_leading()


@pytest.fixture(scope="module")
def gateways(cluster: ControlPlane) -> Iterator[None]:
    """From here on the cluster has the Gateway API."""
    with gateway_api(cluster):
        yield


def create(api: Api, namespace: str, networking: Object, name: str = "iris", **predictor: Any) -> Object:
    manifest = inference_service(name, **predictor)
    manifest["spec"]["networking"] = networking
    return api.create(namespace, manifest)


def ready(api: Api, namespace: str, reason: str, name: str = "iris") -> str:
    """The message of RoutesReady, once it has that reason."""

    def look() -> str:
        found = condition(api.get("InferenceService", namespace, name), "RoutesReady")
        return str(found["message"]) if found.get("reason") == reason else ""

    return eventually(look)


def status(api: Api, namespace: str, name: str = "iris") -> Object:
    found = api.get("InferenceService", namespace, name)
    assert found is not None
    told: Object = found.get("status", {})
    return told


def url(api: Api, namespace: str, wanted: str) -> None:
    eventually(lambda: status(api, namespace).get("url") == wanted)


def given_address(api: Api, namespace: str, *addresses: Object) -> None:
    path = f"{PATHS['Ingress'].format(namespace)}/iris-predictor/status"
    told: Object = {"status": {"loadBalancer": {"ingress": list(addresses) or None}}}
    api.send("PATCH", path, told, "application/merge-patch+json").raise_for_status()


# The order matters: up to a mark the cluster has no Gateway API, and the last test takes it away.


def test_an_ingress_is_made_as_asked_for_and_its_url_is_told_once_it_has_an_address(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    asked = {
        "className": "nginx",
        "hosts": ["{{.Name}}.{{.Namespace}}.example.com", "iris.example.org"],
        "path": "/models/{{.Name}}",
        "tls": {"secretName": "edge"},
        "annotations": {"example.com/timeout": "5m"},
    }
    create(api, namespace, asked, sklearn={"storageUri": "s3://models/iris"}, http={"rootPath": "/models/iris"})

    said = ready(api, namespace, "WaitingForRoute")

    assert "Ingress 'iris-predictor' of the class 'nginx' has been given no address yet" in said
    inside = f"http://iris-predictor.{namespace}.svc.cluster.local"
    assert inside == status(api, namespace)["url"]
    made = api.get("Ingress", namespace, "iris-predictor")
    assert made is not None
    host = f"iris.{namespace}.example.com"
    spec = made["spec"]
    assert ("nginx", [host, "iris.example.org"]) == (spec["ingressClassName"], [one["host"] for one in spec["rules"]])
    backend = {"service": {"name": "iris-predictor", "port": {"number": 80}}}
    assert [{"path": "/models/iris", "pathType": "Prefix", "backend": backend}] == spec["rules"][0]["http"]["paths"]
    assert [{"hosts": [host, "iris.example.org"], "secretName": "edge"}] == spec["tls"]
    assert "5m" == made["metadata"]["annotations"]["example.com/timeout"]
    assert "True" == condition({"status": status(api, namespace)}, "FieldsHonoured")["status"]

    given_address(api, namespace, {"ip": "192.0.2.1"})
    url(api, namespace, f"https://{host}/models/iris")
    assert inside == status(api, namespace)["address"]["url"]
    assert f"The predictor answers at https://{host}/models/iris." == ready(api, namespace, "Routed")

    given_address(api, namespace)
    url(api, namespace, inside)


def test_a_path_that_an_ingress_leaves_on_requests_is_named_where_the_server_does_not_know_it(
    operator: OperatorProcess, api: Api, namespace: str
) -> None:
    create(api, namespace, {"hosts": [f"{namespace}.example.com"], "path": "/iris"})

    eventually(lambda: condition({"status": status(api, namespace)}, "FieldsHonoured").get("status") == "False")

    said = condition({"status": status(api, namespace)}, "FieldsHonoured")["message"]
    assert "spec.networking.path (an Ingress does not take it off again" in said


def test_routes_are_made_as_soon_as_the_cluster_knows_the_gateway_api(
    operator: OperatorProcess, api: Api, namespace: str, request: pytest.FixtureRequest
) -> None:
    create(api, namespace, EDGE | {"hosts": [f"{namespace}.example.com"], "path": "/iris/"})
    said = ready(api, namespace, "RoutesNotServed")
    assert "serves no HTTPRoute of gateway.networking.k8s.io/v1" in said
    assert "install the Gateway API" in said

    request.getfixturevalue("gateways")

    made = eventually(lambda: api.get("HTTPRoute", namespace, "iris-predictor"))
    assert made is not None
    rule = made["spec"]["rules"][0]
    assert [{"path": {"type": "PathPrefix", "value": "/iris"}}] == rule["matches"]
    taken_off = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    assert [{"type": "URLRewrite", "urlRewrite": taken_off}] == rule["filters"]
    assert {"request": "0s"} == rule["timeouts"]
    assert [("iris-predictor", 80)] == [(one["name"], one["port"]) for one in rule["backendRefs"]]
    assert "No controller of the Gateway 'edge' has said anything" in ready(api, namespace, "WaitingForRoute")


# From here on there is a Gateway API.


def test_the_url_is_what_the_gateway_listens_on_and_only_while_it_takes_the_route(
    operator: OperatorProcess, api: Api, namespace: str, gateways: None
) -> None:
    create_gateway(api, namespace, HTTP, HTTPS)
    inside = f"http://iris-predictor.{namespace}.svc.cluster.local"
    create(api, namespace, EDGE | {"hosts": [f"{namespace}.example.com"], "grpcHosts": [f"{namespace}.example.net"]})
    ready(api, namespace, "WaitingForRoute")
    assert inside == status(api, namespace)["url"]

    answer(api, "HTTPRoute", namespace)
    url(api, namespace, f"https://{namespace}.example.com:8443")
    # The other route has not been taken up yet.
    assert "GRPCRoute" in ready(api, namespace, "WaitingForRoute")
    answer(api, "GRPCRoute", namespace)
    said = ready(api, namespace, "Routed")
    assert f"https://{namespace}.example.com:8443 and grpc://{namespace}.example.net:80." in said
    predictor = status(api, namespace)["components"]["predictor"]
    assert f"grpc://{namespace}.example.net:80" == predictor["grpcUrl"]
    assert inside == status(api, namespace)["address"]["url"]

    answer(api, "HTTPRoute", namespace, accepted=False)
    said = ready(api, namespace, "RouteNotAccepted")
    assert "Accepted is False, NoMatchingListenerHostname: played" in said
    url(api, namespace, inside)
    answer(api, "HTTPRoute", namespace, refs=False)
    eventually(lambda: "ResolvedRefs is False, BackendNotFound" in ready(api, namespace, "RouteNotAccepted"))


def test_a_gateway_that_is_not_there_is_no_reason_to_invent_a_url(
    operator: OperatorProcess, api: Api, namespace: str, gateways: None
) -> None:
    create(api, namespace, EDGE | {"hosts": [f"{namespace}.example.com"]})
    answer(api, "HTTPRoute", namespace)

    assert "at which URL cannot be told: the Gateway is not there" in ready(api, namespace, "Routed")

    assert f"http://iris-predictor.{namespace}.svc.cluster.local" == status(api, namespace)["url"]


def test_tls_that_is_passed_through_goes_by_routes_that_see_no_requests(
    operator: OperatorProcess, api: Api, namespace: str, gateways: None
) -> None:
    create_gateway(api, namespace, THROUGH)
    hosts = {"hosts": [f"{namespace}.example.com"], "grpcHosts": [f"grpc.{namespace}.example.com"]}
    create(api, namespace, EDGE | hosts | {"tls": {"mode": "Passthrough"}})
    assert "the pods speak no TLS" in ready(api, namespace, "InvalidSpec")
    assert [] == api.list("TLSRoute", namespace)

    tls = {"tls": {"secretName": "certificate"}}
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": tls}})

    routes = [answer(api, "TLSRoute", namespace, name) for name in ("iris-predictor", "iris-predictor-grpc")]
    ports = [route["spec"]["rules"][0]["backendRefs"][0]["port"] for route in routes]
    assert [443, 8081] == ports
    url(api, namespace, f"https://{namespace}.example.com")
    grpc = f"grpcs://grpc.{namespace}.example.com:443"
    eventually(lambda: status(api, namespace)["components"]["predictor"].get("grpcUrl") == grpc)
    # A route that ends TLS would speak plain text to them.
    api.patch("InferenceService", namespace, "iris", {"spec": {"networking": {"tls": None}}})
    assert "set spec.networking.tls.mode: Passthrough" in ready(api, namespace, "InvalidSpec")
    eventually(lambda: api.list("TLSRoute", namespace) == [])


def test_of_two_services_that_claim_a_host_the_later_names_the_first_and_follows_it(
    operator: OperatorProcess, api: Api, namespace: str, gateways: None
) -> None:
    shared, own = f"{namespace}.example.com", f"own.{namespace}.example.com"
    create(api, namespace, EDGE | {"hosts": [shared]}, "first")
    eventually(lambda: api.get("HTTPRoute", namespace, "first-predictor"))
    create(api, namespace, EDGE | {"hosts": [shared.upper(), own]}, "second")

    said = ready(api, namespace, "HostTaken", "second")

    assert f"{shared[1:]} belongs to InferenceService {namespace}/first, which was first" in said
    assert "True" == condition({"status": status(api, namespace, "second")}, "Stalled")["status"]
    route = api.get("HTTPRoute", namespace, "second-predictor")
    assert route is not None
    assert [own] == route["spec"]["hostnames"]
    assert "HostTaken" != condition({"status": status(api, namespace, "first")}, "RoutesReady")["reason"]
    # Another path of the host is free.
    create(api, namespace, EDGE | {"hosts": [shared], "path": "/third"}, "third")
    eventually(lambda: api.get("HTTPRoute", namespace, "third-predictor"))

    api.patch("InferenceService", namespace, "first", {"spec": {"networking": {"hosts": [f"other.{shared}"]}}})

    both = [shared, own]
    eventually(lambda: (api.get("HTTPRoute", namespace, "second-predictor") or route)["spec"]["hostnames"] == both)
    # Who has a route keeps the host, also against an older service.
    api.patch("InferenceService", namespace, "first", {"spec": {"networking": {"hosts": [shared]}}})
    assert f"belongs to InferenceService {namespace}/second" in ready(api, namespace, "HostTaken", "first")
    eventually(lambda: api.get("HTTPRoute", namespace, "first-predictor") is None)

    api.delete("InferenceService", namespace, "second")
    # Nobody collects garbage here.
    made = eventually(lambda: api.get("HTTPRoute", namespace, "first-predictor"))
    assert made is not None
    assert [shared] == made["spec"]["hostnames"]


def test_a_host_that_is_none_is_named(operator: OperatorProcess, api: Api, namespace: str, gateways: None) -> None:
    create(api, namespace, EDGE | {"hosts": ["iris_{{.Labels.team}}.example.com"]})

    said = ready(api, namespace, "InvalidSpec")

    assert "networking.hosts has 'iris_{{.labels.team}}.example.com', which is no host name" in said


def test_a_route_that_is_edited_or_deleted_is_restored_and_one_at_rest_is_left_alone(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, gateways: None, audit_log: Path
) -> None:
    create_gateway(api, namespace, HTTP)
    create(api, namespace, EDGE | {"hosts": [f"{namespace}.example.com"]})
    route = answer(api, "HTTPRoute", namespace)
    url(api, namespace, f"http://{namespace}.example.com")

    edit = '{"spec": {"hostnames": ["evil.example.com"]}}'
    cluster.kubectl("patch", "httproute", "iris-predictor", "-n", namespace, "--type=merge", "-p", edit)
    eventually(lambda: (api.get("HTTPRoute", namespace, "iris-predictor") or {}).get("spec") == route["spec"])
    api.delete("HTTPRoute", namespace, "iris-predictor")
    answer(api, "HTTPRoute", namespace)

    url(api, namespace, f"http://{namespace}.example.com")
    make_ready(api, namespace)
    Writes(audit_log, namespace).at_rest()

    # Without the field the way in goes.
    api.patch("InferenceService", namespace, "iris", {"spec": {"networking": None}})
    eventually(lambda: api.get("HTTPRoute", namespace, "iris-predictor") is None)
    url(api, namespace, f"http://iris-predictor.{namespace}.svc.cluster.local")


def test_the_rights_about_ways_in_are_enough(
    operator: OperatorProcess, audit_log: Path, api: Api, namespace: str, gateways: None
) -> None:
    create_gateway(api, namespace, HTTP)
    create(api, namespace, EDGE | {"hosts": [f"{namespace}.example.com"]})
    answer(api, "HTTPRoute", namespace)
    url(api, namespace, f"http://{namespace}.example.com")
    lines = audited(audit_log, OPERATOR)
    granted = {(rule.resource, verb) for rule in (*ingress_rules(), *gateway_rules()) for verb in rule.verbs}
    resources = {resource for resource, _ in granted}
    about = [line for line in lines if line.get("objectRef", {}).get("resource") in resources]

    assert resources == {line["objectRef"]["resource"] for line in about}
    assert [] == [line["requestURI"] for line in about if line.get("responseStatus", {}).get("code") == 403]


def test_routes_of_a_gateway_api_without_limits_of_time_go_without_and_are_changed_as_ever(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, gateways: None, audit_log: Path
) -> None:
    name = "crd/httproutes.gateway.networking.k8s.io"
    served = json.loads(cluster.kubectl("get", name, "--output=json"))["spec"]["versions"]
    field = "schema/openAPIV3Schema/properties/spec/properties/rules/items/properties/timeouts"
    away = [{"op": "remove", "path": f"/spec/versions/{place}/{field}"} for place in range(len(served))]
    cluster.kubectl("patch", name, "--type=json", f"--patch={json.dumps(away)}")
    asked: Object = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "asked"}}
    asked["spec"] = {"rules": [{"timeouts": {"request": "0s"}}]}
    tried = f"{PATHS['HTTPRoute'].format(namespace)}?dryRun=All&fieldValidation=Strict"
    try:
        # A definition is followed a moment after it was changed.
        eventually(lambda: api.send("POST", tried, asked).status_code == 400)
        create_gateway(api, namespace, HTTP)
        create(api, namespace, EDGE | {"hosts": [f"{namespace}.example.com"]})
        answer(api, "HTTPRoute", namespace)
        ready(api, namespace, "Routed")

        other = [f"{namespace}.example.net"]
        api.patch("InferenceService", namespace, "iris", {"spec": {"networking": {"hosts": other}}})
        route = eventually(lambda: wanted if (wanted := spec(api, namespace)).get("hostnames") == other else None)

        assert route is not None
        assert "timeouts" not in route["rules"][0]
        Writes(audit_log, namespace).at_rest()
    finally:
        define(cluster)


def test_a_gateway_api_that_goes_is_told_and_harms_nothing(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, gateways: None
) -> None:
    create(api, namespace, EDGE | {"hosts": [f"{namespace}.example.com"]})
    answer(api, "HTTPRoute", namespace)
    ready(api, namespace, "Routed")

    for kind in ("httproutes", "grpcroutes", "tlsroutes", "gateways"):
        cluster.kubectl("delete", "crd", f"{kind}.gateway.networking.k8s.io")

    assert "serves no HTTPRoute" in ready(api, namespace, "RoutesNotServed")
    api.patch("InferenceService", namespace, "iris", {"spec": {"predictor": {"minReplicas": 2}}})
    eventually(lambda: api.get("PodDisruptionBudget", namespace, "iris-predictor"))
    assert "True" != condition({"status": status(api, namespace)}, "Ready")["status"]


def spec(api: Api, namespace: str) -> Object:
    found: Object = (api.get("HTTPRoute", namespace, "iris-predictor") or {}).get("spec", {})
    return found
