"""An older Gateway API knows no limits of time in HTTPRoutes: they are made without."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from pillion_operator.apply.children import ChildApplier
from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import GRPC_ROUTE, HTTP_ROUTE, Kind
from pillion_operator.state.observed import Observed, Outcome
from pillion_operator.state.plan import Child, Desired, Endpoints, ReplicaBounds

UNDECLARED = "failed to create typed patch object (ns/iris; v1): .spec.rules[0].timeouts: field not declared in schema"


class Cluster:
    """An API server that refuses what has limits of time, and keeps the rest."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.stored: Any = None
        self.version = 0

    async def get(self, *_: Any) -> None:
        return None

    async def apply(self, _: Kind, manifest: Any) -> Any:
        self.asked.append(manifest)
        if "timeouts" in str(manifest):
            raise ApiError(500, "InternalError", UNDECLARED)
        if self.stored is None or self.stored["spec"] != manifest["spec"]:
            self.version += 1
        metadata = manifest["metadata"] | {"resourceVersion": str(self.version), "generation": self.version}
        self.stored = manifest | {"metadata": metadata}
        return self.stored


def route(kind: Kind, weight: int = 1) -> Child:
    rule = {"timeouts": {"request": "0s"}, "backendRefs": [{"name": "iris-predictor", "weight": weight}]}
    manifest: Any = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": "iris-predictor", "namespace": "ns"},
        "spec": {"rules": [rule]},
    }
    return Child(kind, manifest)


def put(applier: ChildApplier, cluster: Cluster, child: Child) -> Outcome:
    there: Any = {child.kind: {"iris-predictor": cluster.stored} if cluster.stored else {}}
    service: Any = {"metadata": {"name": "iris", "namespace": "ns", "uid": "1"}}
    desired = Desired((child,), ReplicaBounds(0, 0), Endpoints("", ""))
    return asyncio.run(applier.apply(Observed(service, there), desired))


def test_a_route_goes_without_limits_where_they_are_not_known_and_is_left_alone_then() -> None:
    cluster = Cluster()
    applier = ChildApplier(cast("Any", cluster), lambda *_: None)

    for _ in range(2):
        assert not put(applier, cluster, route(HTTP_ROUTE)).problems
    before = len(cluster.asked)
    assert not put(applier, cluster, route(HTTP_ROUTE)).writes
    assert before == len(cluster.asked), "nothing is asked again while nothing changes"

    assert not put(applier, cluster, route(HTTP_ROUTE, weight=7)).problems
    assert [{"backendRefs": [{"name": "iris-predictor", "weight": 7}]}] == cluster.stored["spec"]["rules"]


def test_what_is_refused_otherwise_is_told() -> None:
    cluster = Cluster()
    applier = ChildApplier(cast("Any", cluster), lambda *_: None)

    (problem,) = put(applier, cluster, route(GRPC_ROUTE)).problems

    assert UNDECLARED in problem.text
    assert 1 == len(cluster.asked)
