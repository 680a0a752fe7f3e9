"""Routes of a service that is woken for a canary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion.resources import InferenceService
from pillion_operator.observe.store import Store
from pillion_operator.reconcile.routes import routed
from pillion_operator.state.kinds import DEPLOYMENT, ENDPOINT_SLICE, HTTP_ROUTE, SERVICE
from pillion_operator.state.manifest import Manifest, array, object_at, objects_at
from pillion_operator.state.observed import Observed
from pillion_operator.state.plan import Child, Desired, Endpoints, ReplicaBounds, Split

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject

_SERVICE: Manifest = {
    "apiVersion": "serving.pillion.dev/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "iris", "namespace": "shop", "uid": "1"},
    "spec": {
        "predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris"}},
        "networking": {"gateway": {"name": "edge"}, "hosts": ["iris.example.com"]},
    },
}


def planned(held: str) -> Desired:
    """The last good revision, whose pod is asked for, and a share for the newest."""
    stable: Manifest = {"metadata": {"labels": {"serving.pillion.dev/variant": "stable"}}}
    metadata: Manifest = {"name": "iris-predictor", "namespace": "shop"}
    annotations: JsonObject = {"serving.pillion.dev/activator-holds": held}
    led: Manifest = {"metadata": metadata | {"name": "iris-predictor-activator", "annotations": annotations}}
    port: JsonObject = {"name": "http", "port": 80}
    children = (
        Child(ENDPOINT_SLICE, led),
        Child(SERVICE, {"metadata": metadata, "spec": {"ports": array([port]), "selector": {}}}),
        Child(DEPLOYMENT, {"metadata": metadata, "spec": {"template": stable}}),
    )
    return Desired(children, ReplicaBounds(1, None), Endpoints("", ""), split=Split(10, 1, 1))


@pytest.mark.parametrize(
    ("held", "backends"),
    [("false", ["iris-predictor-stable", "iris-predictor-canary"]), ("true", ["iris-predictor"])],
)
def test_a_gateway_is_led_past_no_activator_that_holds_requests(held: str, backends: list[str]) -> None:
    service = InferenceService.from_api(_SERVICE)

    settled: Manifest = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}
    observed = Observed(_SERVICE, {SERVICE: {"iris-predictor-stable": settled}}, now=2e9)
    found = routed(service, observed, planned(held), Store(), frozenset({HTTP_ROUTE}))

    route = next(child.manifest for child in found.children if child.kind is HTTP_ROUTE)
    rules = objects_at(object_at(route, "spec"), "rules")
    assert backends == [one["name"] for one in objects_at(rules[0], "backendRefs")]
