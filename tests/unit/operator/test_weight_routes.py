"""When a Gateway is told of the Services of two revisions, and what cluster DNS leads to meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pillion.resources import InferenceService
from pillion_operator.builders.kept import revision_manifest
from pillion_operator.builders.shares import of_stable
from pillion_operator.observe.store import Store
from pillion_operator.reconcile.routes import routed
from pillion_operator.state.kinds import DEPLOYMENT, HTTP_ROUTE, SERVICE
from pillion_operator.state.manifest import key_of, object_at, objects_at, text_at, timestamp_of
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
    limits = [object_at(rule, "timeouts") for rule in objects_at(route, "spec", "rules")]
    assert [{"request": "0s"}] * len(limits) == limits
    services = {key_of(child.manifest).name for child in found.children if child.kind is SERVICE}
    assert {ALONE, STABLE_SERVICE, CANARY_SERVICE} == services


def pod(variant: str | None) -> Manifest:
    labels: Any = {} if variant is None else {VARIANT_LABEL: variant}
    return {"metadata": {"labels": labels}}


def going(*pods: Manifest) -> Observed:
    """A version that has lost its share, while a Gateway sends it half."""
    manifest: Any = {"metadata": {"name": "iris", "namespace": "ns", "uid": "u"}, "spec": {}}
    weights = [{"name": STABLE_SERVICE, "weight": 50}, {"name": CANARY_SERVICE, "weight": 50}]
    rules: Any = [{"backendRefs": weights}]
    accepted: Any = [{"conditions": [{"type": "Accepted", "status": "True", "observedGeneration": 2}]}]
    route: Manifest = {"metadata": {"generation": 2}, "spec": {"rules": rules}, "status": {"parents": accepted}}
    return Observed(manifest, {HTTP_ROUTE: {ALONE: route}, DEPLOYMENT: {ALONE: {}, CANARY_SERVICE: {}}}, pods)


def selector(observed: Observed, desired: Desired) -> Any:
    """The labels by which the name in cluster DNS finds its pods."""
    manifest: Any = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "ns", "uid": "u"},
        "spec": {"predictor": {}},
    }
    found = routed(InferenceService.from_api(manifest), observed, desired, Store(), frozenset({HTTP_ROUTE}))
    assert (DEPLOYMENT, CANARY_SERVICE) in found.spared
    one = next(child.manifest for child in found.children if key_of(child.manifest).name == ALONE)
    return object_at(one, "spec", "selector")


BOTH, ONLY_STABLE = {"app": "iris"}, {"app": "iris", VARIANT_LABEL: STABLE}


@pytest.mark.parametrize(
    ("expected", "split", "variants"),
    [
        (ONLY_STABLE, None, [STABLE, "canary"]),
        (ONLY_STABLE, Split(0, 0, 1), [STABLE, "canary"]),
        # They stand in for pods that the service has to have.
        (BOTH, Split(0, 1, 4, 25, stands_in=True), [STABLE, "canary"]),
        # Pods of a former release would be lost with them.
        (BOTH, None, [None, "canary"]),
    ],
)
def test_pods_that_stay_for_a_gateway_alone_are_out_of_cluster_dns_at_once(
    expected: Any, split: Split | None, variants: list[str | None]
) -> None:
    observed = going(*map(pod, variants))

    assert expected == selector(observed, replace(shared(), split=split))


def test_a_revision_is_kept_with_the_service_of_both() -> None:
    service = next(child.manifest for child in shared().children if child.kind is SERVICE)
    manifest: Manifest = {"metadata": {"name": "iris", "namespace": "ns"}, "spec": {}}
    alone = replace(shared(), children=(Child(SERVICE, of_stable(service)), *shared().children[1:]))

    kept = [revision_manifest(manifest, plan, 1, {})["data"] for plan in (shared(), alone)]

    assert kept[0] == kept[1]
