"""A Gateway as far as tests play one: its definitions are the real ones, and its controller's words are ours."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from e2e.cluster.node import gosources
from tests.integration.operator.harness import PATHS, Api, Object, eventually
from tests.integration.operator.kubelet import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node.apiserver import ControlPlane

HTTP = {"name": "http", "protocol": "HTTP", "port": 80}
HTTPS = {
    "name": "https",
    "protocol": "HTTPS",
    "port": 8443,
    "hostname": "*.example.com",
    "tls": {"mode": "Terminate", "certificateRefs": [{"name": "edge"}]},
}
THROUGH = {"name": "through", "protocol": "TLS", "port": 443, "tls": {"mode": "Passthrough"}}


def define(cluster: ControlPlane) -> None:
    """Give the cluster the definitions as they are released."""
    for file in gosources.gateway_api():
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))


@contextlib.contextmanager
def gateway_api(cluster: ControlPlane) -> Iterator[None]:
    """The cluster has the Gateway API for the length of the block."""
    define(cluster)
    yield
    for file in gosources.gateway_api():
        cluster.kubectl("delete", "-f", str(file), "--ignore-not-found", "--timeout=100s")


def create_gateway(api: Api, namespace: str, *listeners: Object, address: str = "192.0.2.7") -> None:
    spec = {"gatewayClassName": "played", "listeners": list(listeners or (HTTP,))}
    manifest = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "edge"}}
    # A definition is served a moment after it has been applied.
    eventually(lambda: api.send("GET", PATHS["Gateway"].format(namespace)).status_code == 200)
    api.create(namespace, manifest | {"spec": spec})
    path = f"{PATHS['Gateway'].format(namespace)}/edge/status"
    status = {"addresses": [{"type": "IPAddress", "value": address}]}
    api.send("PATCH", path, {"status": status}, "application/merge-patch+json").raise_for_status()


def answer(
    api: Api, kind: str, namespace: str, name: str = "iris-predictor", *, accepted: bool = True, refs: bool = True
) -> Object:
    """Say as the Gateway's controller what becomes of the newest spec of a route; return the route that it saw."""
    route = eventually(lambda: api.get(kind, namespace, name))
    assert route is not None
    parents = [parent(route, one, accepted=accepted, refs=refs) for one in route["spec"]["parentRefs"]]
    path = f"{PATHS[kind].format(namespace)}/{name}/status"
    told = api.send("PATCH", path, {"status": {"parents": parents}}, "application/merge-patch+json")
    assert told.status_code == 200, told.text
    return route


def parent(route: Object, reference: Object, *, accepted: bool, refs: bool) -> Object:
    def condition(kind: str, reason: str, *, holds: bool) -> dict[str, Any]:
        return {
            "type": kind,
            "status": "True" if holds else "False",
            "reason": kind if holds else reason,
            "message": "" if holds else f"played: {reason}",
            "observedGeneration": route["metadata"]["generation"],
            "lastTransitionTime": now(),
        }

    return {
        "parentRef": reference,
        "controllerName": "example.com/played",
        "conditions": [
            condition("Accepted", "NoMatchingListenerHostname", holds=accepted),
            condition("ResolvedRefs", "BackendNotFound", holds=refs),
        ],
    }
