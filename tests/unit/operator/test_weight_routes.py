"""When a Gateway is told of the Services of two revisions: once they may have endpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pillion.resources import InferenceService
from pillion_operator.observe.store import Store
from pillion_operator.reconcile.routes import routed
from pillion_operator.state.kinds import DEPLOYMENT, HTTP_ROUTE, SERVICE
from pillion_operator.state.manifest import key_of, objects_at, text_at, timestamp_of
from pillion_operator.state.names import STABLE, VARIANT_LABEL
from pillion_operator.state.observed import Observed
from pillion_operator.state.plan import Child, Desired, Endpoints, ReplicaBounds, Split

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Manifest

NOW = 1_800_000_000.0
ALONE, STABLE_SERVICE, CANARY_SERVICE = "iris-predictor", "iris-predictor-stable", "iris-predictor-canary"


def shared() -> Desired:
    """A plan by which the newest version has a tenth."""
    service: Manifest = {
        "metadata": {"name": ALONE, "namespace": "ns"},
        "spec": {"ports": [{"name": "http", "port": 80}], "selector": {"app": "iris"}},
    }
    template: Any = {"metadata": {"labels": {VARIANT_LABEL: STABLE}}}
    deployment: Manifest = {"metadata": {"name": ALONE, "namespace": "ns"}, "spec": {"template": template}}
    children = (Child(SERVICE, service), Child(DEPLOYMENT, deployment))
    plan = Desired(children, ReplicaBounds(1, None), Endpoints("http://iris", ""))
    return replace(plan, split=Split(10, 1, 1), revision="new")


@pytest.mark.parametrize(
    ("age", "backends", "settles"),
    [(None, [ALONE], 3.0), (1.0, [ALONE], 2.0), (3.0, [STABLE_SERVICE, CANARY_SERVICE], 0.0)],
)
def test_requests_are_not_led_to_services_that_have_just_been_made(
    age: float | None, backends: list[str], settles: float
) -> None:
    manifest: Any = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "ns", "uid": "u"},
        "spec": {"predictor": {}, "networking": {"gateway": {"name": "edge"}}},
    }
    made: Any = {} if age is None else {STABLE_SERVICE: {"metadata": {"creationTimestamp": timestamp_of(NOW - age)}}}
    observed = Observed(manifest, {SERVICE: made}, now=NOW)

    service = InferenceService.from_api(manifest)
    found = routed(service, observed, shared(), Store(), frozenset({HTTP_ROUTE}))

    route = next(child.manifest for child in found.children if child.kind is HTTP_ROUTE)
    named = [text_at(one, "name") for one in objects_at(objects_at(route, "spec", "rules")[0], "backendRefs")]
    assert (backends, settles) == (named, found.routes and found.routes.settles)
    services = {key_of(child.manifest).name for child in found.children if child.kind is SERVICE}
    assert {ALONE, STABLE_SERVICE, CANARY_SERVICE} == services
