"""Kinds that come to a cluster: taken up once they are listed, and no trouble for the others where they cannot be."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client import CollectorRegistry

from pillion_operator.apply.children import ChildApplier
from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.builders.predictor import plan
from pillion_operator.client.errors import ApiError
from pillion_operator.handlers.caches import Caches
from pillion_operator.judge.status import facts_of
from pillion_operator.metrics import OperatorMetrics
from pillion_operator.observe.store import Store
from pillion_operator.settings import OperatorSettings
from pillion_operator.state.kinds import CERTIFICATE, DEPLOYMENT, HTTP_ROUTE
from pillion_operator.state.observed import Observed
from pillion_operator.state.plan import Child
from pillion_operator.state.reasons import Reason
from tests.unit.operator.test_builders import SETTINGS, SKLEARN, builtin, service
from tests.unit.operator.test_guards import running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion_operator.state.kinds import Kind


class Cluster:
    """Has Certificates and HTTPRoutes, and answers lists of some kinds with an error."""

    def __init__(self, broken: Kind, status: int) -> None:
        self._broken, self._status = broken, status

    async def discover(self, api_version: str) -> set[str]:
        return {kind.plural for kind in (CERTIFICATE, HTTP_ROUTE) if kind.api_version == api_version}

    async def fill(self, *, kinds: Sequence[Kind]) -> None:
        if self._broken in kinds:
            raise ApiError(self._status, "Broken", "conversion webhook failed")


@pytest.mark.parametrize(("status", "at_once"), [(404, True), (500, False), (0, False)])
def test_a_kind_that_cannot_be_listed_keeps_no_other_away_and_restarts_nothing(status: int, at_once: bool) -> None:  # noqa: FBT001 - a case
    changes: list[None] = []
    settings = OperatorSettings(resync_seconds=60.0)
    nobody = cast("Any", None)
    metrics = OperatorMetrics(CollectorRegistry())
    caches = Caches(nobody, Store(), settings, metrics, nobody, lambda: changes.append(None))
    cluster = cast("Any", Cluster(CERTIFICATE, status))

    async def rounds() -> None:
        for _ in range(3):
            await caches._follow_optional_kinds(cluster, cluster)

    asyncio.run(rounds())

    assert frozenset({HTTP_ROUTE}) == caches.optional
    # Only what has come is looked at anew, and once.
    assert 1 == len(changes)
    assert at_once == caches._listed.is_set()


def test_kinds_that_do_not_answer_are_told_from_those_that_a_cluster_lacks() -> None:
    changes: list[frozenset[Kind]] = []
    nobody = cast("Any", None)
    metrics = OperatorMetrics(CollectorRegistry())
    caches = Caches(nobody, Store(), OperatorSettings(), metrics, nobody, lambda: changes.append(caches.away))
    unheard, broken, well = cast("Any", (Silent(), Cluster(CERTIFICATE, 503), Cluster(DEPLOYMENT, 503)))

    async def rounds() -> None:
        caches.optional = await caches._discovered(unheard)
        assert frozenset({CERTIFICATE}) == caches.away
        for cluster in (unheard, broken, broken, well, well):
            await caches._follow_optional_kinds(cluster, cluster)

    asyncio.run(rounds())

    assert frozenset({CERTIFICATE, HTTP_ROUTE}) == caches.optional
    assert [frozenset()] == changes, "services are looked at anew once it answers"


class Silent(Cluster):
    """Has Certificates whose API does not answer, at the start and later."""

    def __init__(self) -> None:
        super().__init__(CERTIFICATE, 503)

    async def discover(self, api_version: str) -> set[str]:
        if api_version == CERTIFICATE.api_version:
            raise ApiError(503, "ServiceUnavailable", "error trying to reach service")
        return await super().discover(api_version)


def test_a_group_that_does_not_answer_hides_no_other() -> None:
    nobody = cast("Any", None)
    caches = Caches(nobody, Store(), OperatorSettings(), OperatorMetrics(CollectorRegistry()), nobody, nobody)
    caches.optional = frozenset({CERTIFICATE})

    # What was known of the one that does not answer is what is known of it.
    assert frozenset({CERTIFICATE, HTTP_ROUTE}) == asyncio.run(caches._discovered(cast("Any", Silent())))


def test_what_cannot_be_listed_is_counted_until_it_can() -> None:
    registry = CollectorRegistry()
    nobody = cast("Any", None)
    caches = Caches(nobody, Store(), OperatorSettings(), OperatorMetrics(registry), nobody, nobody)

    def silent() -> float | None:
        return registry.get_sample_value("pillion_operator_lists_unanswered", {"kind": "certificates"})

    caches.optional = frozenset({CERTIFICATE, HTTP_ROUTE})
    caches._await(frozenset({CERTIFICATE}))
    assert frozenset({HTTP_ROUTE}) == caches.optional
    assert CERTIFICATE not in caches._watched()
    assert 1 == silent()
    caches._await(frozenset())
    assert silent() is None

    # One that was known stays so, and is watched no more.
    caches._set_aside(frozenset({HTTP_ROUTE}))
    assert HTTP_ROUTE in caches.optional
    assert HTTP_ROUTE not in caches._watched()
    assert HTTP_ROUTE in caches._kinds(), "it is listed, to learn when it answers"


def test_of_a_kind_that_nothing_is_planned_of_nothing_is_known_that_would_be_deleted() -> None:
    nobody, store = cast("Any", None), Store()
    metrics = OperatorMetrics(CollectorRegistry())
    caches = Caches(nobody, store, OperatorSettings(), metrics, lambda *_: None, lambda: None)
    caches.optional = frozenset({CERTIFICATE})
    one: Any = {"metadata": {"namespace": "ns", "name": "iris", "uid": "1", "resourceVersion": "3"}}

    # A watch may have listed what the operator's own list had no answer for.
    caches._deliver(CERTIFICATE, "ADDED", one)
    assert [one] == store.all(CERTIFICATE)
    caches._await(frozenset({CERTIFICATE}))
    assert [] == store.all(CERTIFICATE)
    caches._deliver(CERTIFICATE, "ADDED", one)
    assert [] == store.all(CERTIFICATE), "that watch has not ended yet"
    # Nor does a list that broke off leave anything.
    store.record(CERTIFICATE, one)
    cluster = cast("Any", Cluster(CERTIFICATE, 503))
    asyncio.run(caches._follow_optional_kinds(cluster, cluster))
    assert CERTIFICATE not in caches.optional
    assert [] == store.all(CERTIFICATE)


class Writing:
    """An API server that has nothing yet, and in which one kind is down."""

    def __init__(self) -> None:
        self.applied: list[str] = []

    async def get(self, kind: Kind, *_: Any, **__: Any) -> Any:
        if kind is CERTIFICATE:
            raise ApiError(503, "ServiceUnavailable", "error trying to reach service")

    async def apply(self, kind: Kind, manifest: Any, **_: Any) -> Any:
        self.applied.append(kind.name)
        return manifest

    async def scale(self, *_: Any, **__: Any) -> None:
        pass


def test_what_cannot_be_written_beside_the_pods_keeps_these_from_nothing_and_is_told() -> None:
    manifest = service(**SKLEARN)
    desired = plan(manifest, "uid-1", builtin(), StorageCredentials(), SETTINGS)
    certificate = Child(CERTIFICATE, {"metadata": {"name": "iris-predictor", "namespace": "ns"}})
    desired = replace(desired, children=(certificate, *desired.children))
    stored: Any = manifest.to_api()
    client = Writing()
    applier = ChildApplier(cast("Any", client), lambda *_: None)

    outcome = asyncio.run(applier.apply(Observed(stored, {}), desired))

    assert "Deployment" in client.applied
    (problem,) = outcome.problems
    assert Reason.KIND_UNAVAILABLE == problem.reason
    assert "error trying to reach service" in problem.text
    live = running(desired)
    there = Observed(stored, {DEPLOYMENT: {"iris-predictor": live}}, now=2e9)
    facts = facts_of(manifest, there, desired, outcome)
    assert () == facts.problems, "pods that serve go on"
    assert (problem,) == facts.warnings
    assert (problem,) == facts_of(manifest, Observed(stored, {}), desired, outcome).problems
