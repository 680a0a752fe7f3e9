"""What people and failures do to the children and to the operator, and how long it takes to be put right."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import manifests, models
from e2e.harness.killing import Killer
from e2e.harness.release import NAMESPACE
from e2e.harness.waiting import eventually
from e2e.harness.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.harness.release import Release
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def iris(new_stage: Callable[[str], Stage], release: Release) -> Stage:
    """A namespace in which the InferenceService `iris` is Ready with two replicas."""
    stage = new_stage("repair")
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops", minReplicas=2))
    stage.wait_ready("iris")
    stage.wait_rolled_out("iris")
    return stage


@pytest.mark.parametrize(
    ("kind", "name", "times"),
    [
        ("service", "iris-predictor", 5),
        ("configmap", "iris-predictor-runtime", 5),
        ("poddisruptionbudget", "iris-predictor", 5),
        # Its pods go with it and are made anew.
        ("deployment", "iris-predictor", 1),
    ],
)
def test_a_child_deleted_by_hand_comes_back(iris: Stage, report: Report, kind: str, name: str, times: int) -> None:
    seconds = [
        _restored(
            iris,
            lambda: iris.delete(kind, name, "--wait=false"),
            lambda before, after: bool(after["metadata"]["uid"] != before["metadata"]["uid"]),
            kind,
            name,
        )
        for _ in range(times)
    ]

    figures = {"times": times, "median_seconds": statistics.median(seconds), "max_seconds": max(seconds)}
    report.add(f"child-deleted-{kind}", **figures)
    assert max(seconds) <= 2
    iris.wait_rolled_out("iris")


def test_an_edited_service_is_put_back(iris: Stage, report: Report) -> None:
    def edited(found: dict[str, Any]) -> bool:
        return bool(found["spec"]["selector"].get("edited"))

    seconds = _restored(
        iris,
        lambda: iris.patch("service", "iris-predictor", {"spec": {"selector": {"edited": "by-hand"}}}),
        lambda _, after: not edited(after),
        "service",
        "iris-predictor",
    )

    report.add("child-edited", service_seconds=seconds)
    assert seconds <= 2


def test_an_edited_deployment_is_put_back(iris: Stage, report: Report) -> None:
    image = _image(iris.get("deployment", "iris-predictor"))

    def edit() -> None:
        iris.target.kubectl(
            "set", "image", "deployment/iris-predictor", "runtime=localhost/other:tag", f"--namespace={iris.namespace}"
        )

    seconds = _restored(iris, edit, lambda _, after: _image(after) == image, "deployment", "iris-predictor")

    report.add("child-edited", deployment_seconds=seconds)
    assert seconds <= 2
    iris.wait_rolled_out("iris")


def test_kubectl_rollout_restart_is_left_to_the_user(iris: Stage) -> None:
    before = {pod["metadata"]["uid"] for pod in iris.pods("iris")}

    iris.target.kubectl("rollout", "restart", "deployment/iris-predictor", f"--namespace={iris.namespace}")

    eventually(
        lambda: {pod["metadata"]["uid"] for pod in iris.pods("iris")},
        lambda uids: not uids & before and len(uids) == 2,
        within=120,
        what="both pods were replaced",
        every=1,
    )


@pytest.fixture
def killer(iris: Stage) -> Iterator[Killer]:
    """What kills a pod's processes without a signal before."""
    made = Killer(iris.target)
    yield made
    made.remove()


def test_the_other_replica_takes_over_when_the_leader_is_killed(
    iris: Stage, release: Release, report: Report, killer: Killer
) -> None:
    eventually(release.ready_pods, lambda pods: len(pods) == 2, within=60, what="two replicas are ready")
    leader = eventually(release.leader, within=20, what="one replica leads")
    old = release.holder()
    served = {pod["metadata"]["uid"] for pod in iris.pods("iris")}
    (uid,) = (pod["metadata"]["uid"] for pod in release.pods() if pod["metadata"]["name"] == leader)

    start = time.monotonic()
    assert killer.kill(uid, "pillion-operator") == 1
    eventually(release.holder, lambda holder: holder not in {"", old}, within=30, what="another leads", every=0.1)
    took = round(time.monotonic() - start, 1)
    iris.apply(manifests.config_map("after", models.iris()))
    iris.apply(manifests.inference_service("after", "configmap://after/model.skops"))
    eventually(lambda: iris.get("deployment", "after-predictor"), within=20, what="the new leader reconciles")

    report.add("leader-killed", seconds_until_new_leader=took)
    assert took <= 20
    assert served == {pod["metadata"]["uid"] for pod in iris.pods("iris")}


def test_a_graceful_stop_hands_over_at_once(iris: Stage, release: Release, report: Report) -> None:
    eventually(release.ready_pods, lambda pods: len(pods) == 2, within=60, what="two replicas are ready")
    old = eventually(release.leader, within=20, what="one replica leads")

    start = time.monotonic()
    iris.target.kubectl("delete", "pod", old, f"--namespace={NAMESPACE}", "--wait=false")
    eventually(release.leader, lambda name: name not in {"", old}, within=30, what="another replica leads", every=0.1)
    took = round(time.monotonic() - start, 1)

    report.add("leader-stopped", seconds_until_new_leader=took)
    assert took <= 10


def test_kubectl_delete_leaves_nothing(iris: Stage, report: Report) -> None:
    iris.apply(manifests.config_map("gone", models.iris()))
    iris.apply(manifests.inference_service("gone", "configmap://gone/model.skops", minReplicas=2))
    iris.wait_ready("gone")
    assert iris.children("gone")

    start = time.monotonic()
    iris.delete("pisvc", "gone")
    eventually(lambda: iris.children("gone"), lambda left: left == [], within=120, what="no child is left", every=1)

    report.add("deleted", seconds_until_nothing_is_left=round(time.monotonic() - start, 1))
    # The user's own ConfigMap is not ours to remove.
    assert iris.get("configmap", "gone") is not None


def _image(deployment: dict[str, Any] | None) -> str:
    assert deployment is not None, "the Deployment is gone"
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return next(str(container["image"]) for container in containers if container["name"] == "runtime")


def _restored(
    stage: Stage,
    break_it: Callable[[], object],
    whole: Callable[[dict[str, Any], dict[str, Any]], bool],
    kind: str,
    name: str,
) -> float:
    """Break a child and return the seconds until it is whole, as a watch saw it."""
    before = stage.get(kind, name)
    assert before is not None, f"{kind} {name} is not there"
    with Watch(stage.target, stage.namespace, kind, name) as watch:
        break_it()
        return watch.seconds_from_broken_to(lambda after: whole(before, after), within=20)
