"""What becomes of the pods that had a share when it is taken away: by a manifest, or by a roll-back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.resources import InferenceService
from pillion_operator.builders.kept import with_kept
from pillion_operator.judge.canary import sharing
from pillion_operator.judge.canary import status_of as canary_status
from pillion_operator.judge.status import facts_of
from pillion_operator.reconcile.rollouts import RolloutParts, Rollouts
from pillion_operator.reconcile.stages import Stages
from pillion_operator.report.events import happenings
from pillion_operator.state.kinds import CERTIFICATE, CONFIG_MAP, DEPLOYMENT, SERVICE
from pillion_operator.state.manifest import Key, key_of
from pillion_operator.state.names import ROLLOUT_SINCE_ANNOTATION, ROLLOUT_STEP_ANNOTATION
from pillion_operator.state.observed import Observed, Outcome
from pillion_operator.state.plan import Child, Desired, Endpoints, ReplicaBounds
from pillion_operator.state.revisions import Revision
from pillion_operator.state.routes import RoutePlan

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Manifest

STABLE, CANARY = "iris-predictor", "iris-predictor-canary"
METADATA: Manifest = {"name": STABLE, "namespace": "ns"}
GOOD = Revision("iris-good", "1", "good", 1, "RolledOut")
FAILED = Revision("iris-new", "2", "new", 2, "Failed", 3, "Analysis: 50 % of 100 requests failed")
STAYS = {(DEPLOYMENT, CANARY), (CONFIG_MAP, f"{CANARY}-runtime")}
BY_HAND: Any = {"canaryTrafficPercent": 0}
STEPS: Any = {"rollout": {"steps": [{"weight": 5}, {"weight": 80}]}}


class Kept:
    """The last good revision."""

    async def read(self, *_: Any) -> Any:
        return {"template": {}, "service": {}}


def deployment(name: str, revision: str, wanted: int, available: int) -> Manifest:
    template: Any = {"metadata": {"annotations": {"serving.pillion.dev/revision": revision}}}
    spec: Any = {"replicas": wanted, "template": template}
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    status: Any = {"observedGeneration": 2, **dict.fromkeys(counts, available)}
    return {"metadata": {"name": name, "generation": 2}, "spec": spec, "status": status}


def pods(stable: int, canary: int) -> tuple[Manifest, ...]:
    ready: Any = [{"type": "Ready", "status": "True"}]
    variants = ["stable"] * stable + ["canary"] * canary
    return tuple(
        cast(
            "Manifest", {"metadata": {"labels": {"serving.pillion.dev/variant": one}}, "status": {"conditions": ready}}
        )
        for one in variants
    )


class Service:
    """One of four pods, whose newest version has had 80 %: one pod of the last good revision is left."""

    def __init__(
        self, predictor: Any, newest: str, *revisions: Revision, available: int = 1, most: int | None = None
    ) -> None:
        self.manifest: Any = {
            "apiVersion": "serving.pillion.dev/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "iris", "namespace": "ns", "uid": "u", "generation": 3},
            "spec": {"predictor": {"sklearn": {"storageUri": "s3://models/iris"}, **predictor}},
        }
        self.parsed = InferenceService.from_api(self.manifest)
        live = {
            STABLE: deployment(STABLE, "good", max(available, 1), available),
            CANARY: deployment(CANARY, "new", 4, 4),
        }
        self.observed = Observed(
            self.manifest, {DEPLOYMENT: live}, pods(available, 4), revisions=revisions or (GOOD,), now=2e9
        )
        children = (Child(SERVICE, {"metadata": METADATA, "spec": {}}), Child(DEPLOYMENT, {"metadata": METADATA}))
        self.desired = replace(Desired(children, ReplicaBounds(4, most), Endpoints("http://iris", "")), revision=newest)

    def course(self) -> Desired:
        nobody = cast("Any", None)
        parts = RolloutParts(cast("Any", Kept()), nobody, nobody, Stages(nobody, lambda: 0.0), nobody)
        return asyncio.run(Rollouts(parts).course(self.parsed, self.observed, self.desired))

    def told(self, desired: Desired) -> tuple[str, Manifest]:
        facts = facts_of(self.parsed, self.observed, desired, Outcome())
        return sharing(facts), canary_status(facts)


def beside(desired: Desired) -> list[Manifest]:
    """The Deployment beside, where the plan has one."""
    return [child.manifest for child in desired.children if key_of(child.manifest).name == CANARY]


WITHDRAWALS = [
    pytest.param(BY_HAND, "new", (GOOD,), 0, id="the share is set to none"),
    pytest.param({"canaryTrafficPercent": 80}, "new", (GOOD, FAILED), 0, id="the newest has failed"),
    pytest.param({"canaryTrafficPercent": 80}, "good", (GOOD,), 100, id="the manifest has gone back"),
    pytest.param(STEPS, "newer", (GOOD,), 5, id="another version begins with its first step"),
    pytest.param({}, "newer", (GOOD,), 100, id="another version is to take over at once"),
]


@pytest.mark.parametrize(("predictor", "newest", "revisions", "asked"), WITHDRAWALS)
def test_pods_that_had_a_share_stay_as_they_are_until_the_others_are_back(
    predictor: Any, newest: str, revisions: tuple[Revision, ...], asked: int
) -> None:
    found = Service(predictor, newest, *revisions).course()

    assert found.split is not None
    # Of five that serve one more than the service has to have may go.
    assert (asked, 3, True) == (found.split.percent, found.split.canary, found.split.stands_in)
    assert 4 == found.replicas.least
    # Neither applied, which would give them another template, nor deleted.
    assert STAYS <= found.spared
    assert [] == beside(found)


@pytest.mark.parametrize(("predictor", "newest", "revisions", "asked"), WITHDRAWALS)
def test_once_the_others_are_back_they_go(
    predictor: Any, newest: str, revisions: tuple[Revision, ...], asked: int
) -> None:
    found = Service(predictor, newest, *revisions, available=4).course()

    assert set() == STAYS & found.spared
    # Only another version that gets a share has pods beside, of its own.
    assert (1 if asked == 5 else 0) == (found.split.canary if found.split else 0) == len(beside(found))


def test_a_lower_share_of_the_same_version_keeps_what_it_is_made_of() -> None:
    found = Service({"canaryTrafficPercent": 20}, "new").course()

    assert found.split is not None
    assert (3, True, 75) == (found.split.canary, found.split.stands_in, found.split.weight)
    assert 1 == len(beside(found))


CERTIFIED = {(CERTIFICATE, "iris-predictor"), (CONFIG_MAP, "iris-predictor-ca")}


@pytest.mark.parametrize(
    ("stays", "predictor", "newest", "revisions"),
    [
        pytest.param(True, BY_HAND, "new", (GOOD,), id="another waits for its share"),
        pytest.param(True, {"canaryTrafficPercent": 80}, "new", (GOOD, FAILED), id="another has failed"),
        pytest.param(True, {}, "newer", (GOOD,), id="another is to take over at once"),
        pytest.param(False, {}, "good", (GOOD,), id="there is no other"),
    ],
)
def test_what_the_last_good_revision_serves_with_stays_while_another_is_asked_for(
    stays: bool,  # noqa: FBT001 - a case
    predictor: Any,
    newest: str,
    revisions: tuple[Revision, ...],
) -> None:
    for available in (1, 4):
        found = Service(predictor, newest, *revisions, available=available).course()

        assert (CERTIFIED if stays else set()) == CERTIFIED & found.spared


@pytest.mark.parametrize(
    ("expected", "ports"),
    [
        (Endpoints("http://iris.ns.svc", "grpc://iris.ns.svc:8081"), ["http", "grpc"]),
        (Endpoints("http://iris.ns.svc", ""), ["http"]),
        (Endpoints("https://iris.ns.svc", "grpcs://iris.ns.svc:8081"), ["https", "grpc"]),
    ],
)
def test_a_revision_that_was_gone_back_to_is_told_by_the_addresses_at_which_it_answers(
    expected: Endpoints, ports: list[str]
) -> None:
    service = Service({}, "new")
    newest = replace(service.desired, endpoints=Endpoints("https://iris.ns.svc", "grpcs://iris.ns.svc:8081"))
    kept: Manifest = {"template": {}, "service": {"ports": [{"name": name} for name in ports]}}

    assert expected == with_kept(service.manifest, newest, kept).endpoints


def test_a_service_that_is_stopped_keeps_the_step_of_its_newest_version_and_no_pods() -> None:
    service = Service(STEPS, "new", most=0)
    live: Any = service.observed.children[DEPLOYMENT][CANARY]
    live["metadata"]["annotations"] = {
        ROLLOUT_STEP_ANNOTATION: "1",
        ROLLOUT_SINCE_ANNOTATION: "2026-01-01T00:00:00Z",
    }

    found = service.course()

    assert found.split is not None
    assert (0, False) == (found.split.canary, found.split.stands_in)
    # Its step is kept, and how long it had it is not: nobody asks it anything meanwhile.
    assert [{ROLLOUT_STEP_ANNOTATION: "1"}] == [one["metadata"]["annotations"] for one in cast("Any", beside(found))]


def test_what_stands_in_is_told_with_its_numbers() -> None:
    service = Service({"canaryTrafficPercent": 80}, "new", GOOD, FAILED)

    text, status = service.told(service.course())

    stays = "3 pods beside it stay until 4 of the last good revision are available (now 1)"
    assert f"The last good revision gets its pods back; {stays}." == text
    assert {"requested": 0, "actual": 80, "mechanism": f"replicas: 4 of 5 pods; {stays}"} == status


def test_the_only_pod_stays_for_as_long_as_no_node_takes_the_one_that_is_to_serve_in_its_place() -> None:
    service = Service(BY_HAND, "new", available=0)
    waits: Any = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    labels: Any = {"annotations": {"serving.pillion.dev/revision": "good"}}
    homeless: Any = {"metadata": labels, "status": {"conditions": waits}}
    live = {STABLE: deployment(STABLE, "good", 1, 0), CANARY: deployment(CANARY, "new", 1, 1)}
    service.observed = replace(service.observed, children={DEPLOYMENT: live}, pods=(homeless, *pods(0, 1)))
    service.desired = replace(service.desired, replicas=ReplicaBounds(1, None))

    found = service.course()

    assert found.split is not None
    assert 1 == found.split.canary
    text, _ = service.told(found)
    assert "1 pod beside it stays until 1 of the last good revision are available (now 0; no node takes its" in text


def test_a_version_that_takes_over_tells_how_far_it_is_and_nothing_of_weights() -> None:
    service = Service({}, "new")
    plan = replace(service.course(), routes=RoutePlan(gateway=Key("ns", "edge")))

    _, status = service.told(plan)

    mechanism = "replicas: 4 of 5 pods; the newest version takes over"
    assert {"requested": 100, "actual": 80, "mechanism": mechanism} == status


def test_a_version_that_is_undone_has_nothing_of_what_was_asked_for() -> None:
    service = Service({"canaryTrafficPercent": 80}, "good")

    _, status = service.told(service.course())

    # What the manifest asks for now is the last good one.
    assert (100, 20) == (status["requested"], status["actual"])


@pytest.mark.parametrize(
    ("expected", "before", "after"),
    [
        (
            ["The newest version is to have 20 % of the requests and has 0 % (m)."],
            {},
            {"requested": 20, "actual": 0},
        ),
        (
            ["The newest version is to have 0 % of the requests, 80 % before, and has 80 % (m)."],
            {"requested": 80, "actual": 80},
            {"requested": 0, "actual": 80},
        ),
        (
            ["The newest version is to have 20 % of the requests and has 20 % (m)."],
            {"requested": 20, "actual": 0},
            {"requested": 20, "actual": 20},
        ),
        ([], {"requested": 20, "actual": 20}, {"requested": 20, "actual": 20}),
        ([], {"requested": 20, "actual": 0}, {"requested": 20, "actual": 10}),
        ([], {"requested": 20, "actual": 20}, {}),
        ([], {}, {"requested": 20, "actual": 0, "step": "1 of 2"}),
    ],
)
def test_a_share_that_is_asked_for_or_reached_is_an_event_with_its_figures(
    expected: list[str], before: Manifest, after: Manifest
) -> None:
    after = {"canary": after | {"mechanism": "m"}} if after else {}

    found = happenings({"status": {"canary": before} if before else {}}, after, Outcome())

    assert expected == [one.message for one in found if one.reason == "CanaryShare"]
