"""Changes of image and model under open-loop load: no request fails. Counted at the client, nothing retried."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.harness.load import Load
    from e2e.harness.release import Release
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

_RATE = 200
#: How often each pod is deleted.
_ROUNDS = 4
#: Each protocol by itself in the long run; in the short one both share the rate and the wait for pods.
_LOADS = [
    pytest.param(("http", "grpc"), 3000, marks=pytest.mark.smoke, id="both-3000"),
    pytest.param(("http",), 20000, marks=pytest.mark.full, id="http-20000"),
    pytest.param(("grpc",), 20000, marks=pytest.mark.full, id="grpc-20000"),
]


@pytest.fixture(scope="module")
def iris(new_stage: Callable[[str], Stage], release: Release) -> Stage:
    """A namespace where `iris` is Ready with two replicas and TLS; each scenario goes on where the last one ended."""
    stage = new_stage("rollout")
    stage.issue("iris", "iris-tls")
    stage.apply(*(manifests.config_map(f"iris-{shift}", models.iris(shift=shift)) for shift in (0, 10)))
    stage.apply(manifests.inference_service("iris", "configmap://iris-0/model.skops", tls="iris-tls", minReplicas=2))
    stage.wait_ready("iris")
    stage.wait_rolled_out("iris")
    # The client's pod is there before anything is measured.
    assert stage.predict("iris", scheme="https")["data"] == [0]
    return stage


@pytest.mark.parametrize(("protocols", "requests"), _LOADS)
def test_an_image_change_rolls_without_a_failed_request(
    iris: Stage, report: Report, protocols: tuple[str, ...], requests: int
) -> None:
    newer = _other_image(iris)
    loads = _start(iris, protocols)
    before = {pod["metadata"]["uid"] for pod in iris.pods("iris")}

    start = time.monotonic()
    iris.patch("pisvc", "iris", {"spec": {"predictor": {"model": {"image": newer}}}})
    eventually(
        lambda: {pod["metadata"]["uid"] for pod in iris.pods("iris")},
        lambda uids: not uids & before and len(uids) == 2,
        within=180,
        what="both pods were replaced",
        every=1,
    )
    iris.wait_rolled_out("iris", old_gone=True)
    rolled = time.monotonic() - start
    _finish(loads, report, "rollout-image", requests, seconds_to_roll=round(rolled, 1))

    assert {newer} == {pod["spec"]["containers"][0]["image"] for pod in iris.pods("iris")}


@pytest.mark.parametrize(("protocols", "requests"), _LOADS)
def test_a_model_change_rolls_without_a_failed_request_and_the_new_model_answers(
    iris: Stage, report: Report, protocols: tuple[str, ...], requests: int
) -> None:
    newer = 10 - iris.predict("iris", scheme="https")["data"][0]
    loads = _start(iris, protocols)

    start = time.monotonic()
    iris.patch(
        "pisvc", "iris", {"spec": {"predictor": {"model": {"storageUri": f"configmap://iris-{newer}/model.skops"}}}}
    )
    eventually(
        lambda: iris.predict("iris", scheme="https")["data"],
        lambda data: data == [newer],
        within=180,
        what="the new model answers",
        every=1,
    )
    iris.wait_rolled_out("iris", old_gone=True)
    rolled = time.monotonic() - start
    _finish(loads, report, "rollout-model", requests, seconds_to_roll=round(rolled, 1))

    assert iris.predict("iris", scheme="https")["data"] == [newer]


@pytest.mark.parametrize(("protocols", "requests"), _LOADS[1:])
def test_every_pod_deleted_by_hand_loses_no_request(
    iris: Stage, report: Report, protocols: tuple[str, ...], requests: int
) -> None:
    loads = _start(iris, protocols)

    deleted: set[str] = set()
    for _ in range(_ROUNDS):
        for name in _ready(iris):
            iris.delete("pod", name, "--wait=false")
            deleted.add(name)
            eventually(
                lambda: _ready(iris),
                lambda names: len(names) == 2 and not deleted & set(names),
                within=90,
                what="another pod has taken the deleted one's place",
            )
    _finish(loads, report, "pods-deleted", requests, pods_deleted=len(deleted))

    assert len(deleted) == 2 * _ROUNDS


@pytest.mark.full
def test_a_pod_that_ends_at_once_loses_requests_so_the_count_can_fail(iris: Stage) -> None:
    load = iris.load("load", "http", "iris", tls=True, rate=_RATE)

    for pod in iris.pods("iris"):
        iris.delete("pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
    result = load.finish(least=3000, within=60)

    assert result.failed > 0


def _ready(stage: Stage) -> list[str]:
    return [
        pod["metadata"]["name"]
        for pod in stage.pods("iris")
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    ]


def _other_image(stage: Stage) -> str:
    """The same content under the name that the pods do not use now."""
    used = stage.pods("iris")[0]["spec"]["containers"][0]["image"]
    first, second = stage.target.image("runtime"), stage.target.image("runtime", "e2e-next")
    return second if used == first else first


def _start(stage: Stage, protocols: tuple[str, ...]) -> dict[str, Load]:
    rate = _RATE / len(protocols)
    return {name: stage.load(f"load-{name}", name, "iris", tls=True, rate=rate) for name in protocols}


def _finish(loads: dict[str, Load], report: Report, scenario: str, requests: int, **figures: object) -> None:
    least = requests // len(loads)
    results = {name: load.finish(least=least, within=requests / _RATE + 60) for name, load in loads.items()}
    for name, result in results.items():
        report.add(f"{scenario}-{name}", **figures, **result.figures())
    for name, result in results.items():
        assert (result.failed, result.failures) == (0, {}), f"{name}: {result.examples}"
        assert result.requests >= least
