"""When the last good revision gives pods up for the newest: once a Gateway that shares requests out has followed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.resources import InferenceService
from pillion_operator.reconcile.rollouts import RolloutParts, Rollouts
from pillion_operator.reconcile.stages import Stages
from pillion_operator.state.kinds import DEPLOYMENT, HTTP_ROUTE, SERVICE
from pillion_operator.state.observed import Observed
from pillion_operator.state.plan import Child, Desired, Endpoints, ReplicaBounds
from pillion_operator.state.revisions import Revision

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Manifest

NAME = "iris-predictor"
GOOD = Revision("iris-good", "1", "good", 1, "RolledOut")
METADATA: Manifest = {"name": NAME, "namespace": "ns"}


class Kept:
    """The last good revision."""

    async def read(self, *_: Any) -> Any:
        return {"template": {}, "service": {}}


def deployment(revision: str) -> Manifest:
    template: Any = {"metadata": {"annotations": {"serving.pillion.dev/revision": revision}}}
    status: Any = {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 4, "availableReplicas": 4}
    return {"metadata": {"generation": 2}, "spec": {"replicas": 4, "template": template}, "status": status}


def route(share: int, *, seen: int) -> Manifest:
    weights = [{"name": f"{NAME}-stable", "weight": 100 - share}, {"name": f"{NAME}-canary", "weight": share}]
    spec: Any = {"rules": [{"backendRefs": weights}]}
    accepted = {"type": "Accepted", "status": "True", "observedGeneration": seen}
    return {"metadata": {"generation": 2}, "spec": spec, "status": {"parents": [{"conditions": [accepted]}]}}


@pytest.mark.parametrize(
    ("least", "routes"),
    [
        (1, {}),
        (4, {NAME: route(50, seen=2)}),  # the weights are about to be written
        (4, {NAME: route(90, seen=1)}),
        (1, {NAME: route(90, seen=2)}),
        (4, {NAME: route(90, seen=2), "other": route(90, seen=1)}),
    ],
)
def test_no_pod_is_given_up_whose_requests_a_gateway_still_sends(least: int, routes: dict[str, Manifest]) -> None:
    manifest: Any = {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "ns", "uid": "u", "generation": 3},
        "spec": {"predictor": {"sklearn": {"storageUri": "s3://models/iris"}, "canaryTrafficPercent": 90}},
    }
    live = {NAME: deployment("good"), f"{NAME}-canary": deployment("new")}
    observed = Observed(manifest, {DEPLOYMENT: live, HTTP_ROUTE: routes}, revisions=(GOOD,))
    children = (Child(SERVICE, {"metadata": METADATA, "spec": {}}), Child(DEPLOYMENT, {"metadata": METADATA}))
    desired = replace(Desired(children, ReplicaBounds(4, None), Endpoints("http://iris", "")), revision="new")
    nobody = cast("Any", None)
    rollouts = Rollouts(RolloutParts(cast("Any", Kept()), nobody, nobody, Stages(nobody, lambda: 0.0), nobody))

    found = asyncio.run(rollouts.course(InferenceService.from_api(manifest), observed, desired))

    assert found.split is not None
    assert (4, least, least) == (found.split.canary, found.split.stable, found.replicas.least)
