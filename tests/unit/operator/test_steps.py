"""Which pods a step of a rollout counts, and until when a rollout is watched."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.resources import InferenceService
from pillion_operator.analysis.window import RequestCounts
from pillion_operator.reconcile.rollouts import RolloutParts, Rollouts
from pillion_operator.reconcile.stages import Stages
from pillion_operator.state.kinds import DEPLOYMENT, SERVICE
from pillion_operator.state.manifest import timestamp_of
from pillion_operator.state.names import ROLLOUT_SINCE_ANNOTATION, ROLLOUT_STEP_ANNOTATION
from pillion_operator.state.observed import Observed
from pillion_operator.state.plan import Child, Desired, Endpoints, ReplicaBounds
from pillion_operator.state.revisions import Revision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion_operator.observe.pod_metrics import MetricsReader
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Progress

NOW = 1_800_000_000.0
GOOD = Revision("iris-good", "1", "good", 1, "RolledOut")
STEPS = {"steps": [{"weight": 25, "pause": "1h"}]}
#: Several passes that count against the newest version.
ANALYSIS = {"analysis": {"errorRate": "1%", "window": "1m"}}


def deployment(revision: str, **status: int) -> Manifest:
    template: Any = {"metadata": {"annotations": {"serving.pillion.dev/revision": revision}}}
    spec: Any = {"replicas": 1, "template": template}
    return {"metadata": {"generation": 2}, "spec": spec, "status": {"observedGeneration": 2, **status}}


def pod(revision: str) -> Manifest:
    annotations: Any = {"serving.pillion.dev/revision": revision}
    ready: Any = [{"type": "Ready", "status": "True"}]
    return {"metadata": {"uid": revision, "annotations": annotations}, "status": {"conditions": ready}}


class Counting:
    """Pods of which the newest fail every request."""

    def __init__(self) -> None:
        self.requests = 0.0

    async def read(self, pods: Sequence[Manifest]) -> dict[str, RequestCounts | None]:
        self.requests += 100.0
        found = {one["metadata"]["uid"]: one for one in cast("Sequence[Any]", pods)}
        return {uid: RequestCounts(self.requests, self.requests if uid == "new" else 0.0) for uid in found}


class Rolling:
    """A service whose newest version has a share."""

    def __init__(self, rollout: Manifest, canary: Manifest, paused: str = "false", **predictor: Any) -> None:
        self.seconds = 0.0
        self.stages = Stages(cast("MetricsReader[RequestCounts]", Counting()), lambda: self.seconds)
        spec: Any = {"predictor": {"sklearn": {"storageUri": "s3://models/iris"}, "rollout": rollout, **predictor}}
        manifest: Manifest = {
            "apiVersion": "serving.pillion.dev/v1beta1",
            "kind": "InferenceService",
            "metadata": {
                "name": "iris",
                "namespace": "ns",
                "uid": "u",
                "generation": 3,
                "annotations": {"serving.pillion.dev/paused": paused},
            },
            "spec": spec,
        }
        self.service = InferenceService.from_api(manifest)
        stable = deployment("good", replicas=1, updatedReplicas=1, availableReplicas=1)
        live = {DEPLOYMENT: {"iris-predictor": stable, "iris-predictor-canary": canary}}
        self.observed = Observed(manifest, live, (pod("good"), pod("new")), now=NOW, revisions=(GOOD,))
        self.desired = replace(Desired((), ReplicaBounds(1, None), Endpoints("http://iris", "")), revision="new")

    def look(self) -> Progress | None:
        self.seconds += 10.0
        return asyncio.run(self.stages.progress(self.service, self.observed, self.desired, GOOD))


@pytest.mark.parametrize(
    ("since", "status"),
    [
        (NOW, {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}),
        # The one that is available is of the version before, whose template has been changed since.
        (0.0, {"replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}),
        (0.0, {"replicas": 1, "updatedReplicas": 0, "availableReplicas": 1}),
    ],
)
def test_a_step_begins_once_pods_of_the_newest_version_itself_are_available(
    since: float, status: dict[str, int]
) -> None:
    progress = Rolling(cast("Manifest", STEPS), deployment("new", **status)).look()

    assert progress is not None
    assert (1, since) == (progress.step, progress.since)


def test_a_step_that_was_passed_is_looked_at_again_soon_and_not_at_once() -> None:
    canary = cast("Any", deployment("new", replicas=1, updatedReplicas=1, availableReplicas=1))
    since = timestamp_of(NOW - 10)
    canary["metadata"]["annotations"] = {ROLLOUT_STEP_ANNOTATION: "0", ROLLOUT_SINCE_ANNOTATION: since}
    steps: Any = {"steps": [{"weight": 25, "pause": "5s"}, {"weight": 50, "pause": "5s"}]}

    progress = Rolling(steps, canary).look()

    # Where the Deployment that keeps the step is refused, this goes on until somebody acts.
    assert progress is not None
    assert (2, 1.0) == (progress.step, progress.wait)


def test_a_pause_keeps_the_step_and_not_a_version_that_fails() -> None:
    canary = cast("Any", deployment("new", replicas=1, updatedReplicas=1, availableReplicas=1))
    kept = {ROLLOUT_STEP_ANNOTATION: "0", ROLLOUT_SINCE_ANNOTATION: timestamp_of(NOW - 10)}
    canary["metadata"]["annotations"] = kept
    steps: Any = {"steps": [{"weight": 25, "pause": "5s"}, {"weight": 50}]}

    # Its time is over, so without the pause it would be at the next one.
    assert [2, 1] == [
        progress and progress.step
        for progress in (Rolling(steps, canary).look(), Rolling(steps, canary, paused="true").look())
    ]
    failing = Rolling(steps | ANALYSIS, canary, paused="true")
    assert [False, True] == [progress is not None and progress.failed for progress in (failing.look(), failing.look())]


def test_steps_that_cannot_begin_say_so_and_name_the_way_out() -> None:
    rolling = Rolling(cast("Manifest", STEPS), deployment("", replicas=0))

    class Kept:
        async def read(self, *_: Any) -> Any:
            return {"template": {}, "service": {"ports": [{"port": 80}]}}

    nobody = cast("Any", None)
    rollouts = Rollouts(RolloutParts(cast("Any", Kept()), nobody, nobody, rolling.stages, nobody))
    service: Manifest = {"metadata": {"name": "iris-predictor"}, "spec": {"ports": [{"port": 443}]}}
    desired = replace(rolling.desired, children=(Child(SERVICE, service),))

    found = asyncio.run(rollouts.course(rolling.service, rolling.observed, desired))

    assert ["spec.predictor.rollout.steps (the newest version listens on other ports"] == [
        note.text[:71] for note in found.notes
    ]
    assert "it waits until canaryTrafficPercent is 100)" in found.notes[0].text


def test_a_version_that_is_given_everything_by_hand_is_not_judged() -> None:
    canary = deployment("new", replicas=1, updatedReplicas=1, availableReplicas=1)
    shared = Rolling(cast("Manifest", ANALYSIS), canary, canaryTrafficPercent=50)
    promoted = Rolling(cast("Manifest", ANALYSIS), canary, canaryTrafficPercent=100)

    assert [False, True] == [progress is not None and progress.failed for progress in (shared.look(), shared.look())]
    assert [None, None] == [promoted.look(), promoted.look()]


def test_what_was_counted_is_forgotten_when_the_rollout_is_over() -> None:
    canary = deployment("new", replicas=1, updatedReplicas=1, availableReplicas=1)
    rolling = Rolling(cast("Manifest", ANALYSIS), canary, canaryTrafficPercent=50)
    nobody = cast("Any", None)
    rollouts = Rollouts(RolloutParts(nobody, nobody, nobody, rolling.stages, nobody))
    rolling.look()

    undone = replace(rolling.desired, revision="good")
    assert undone == asyncio.run(rollouts.course(rolling.service, rolling.observed, undone))

    progress = rolling.look()
    assert progress is not None
    assert "0 % of 0 requests failed (last good revision: 0 % of 0)" in progress.analysis
