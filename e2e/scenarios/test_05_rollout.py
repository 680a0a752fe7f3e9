"""Changes of image and model under open-loop load: no request fails. Counted at the client, nothing retried."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from e2e.harness.load import Load
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

_RATE = 200
#: Each protocol by itself in the long run; in the short one both share the rate and the wait for pods.
_LOADS = [
    pytest.param(("http", "grpc"), 3000, marks=pytest.mark.smoke, id="both-3000"),
    pytest.param(("http",), 20000, marks=pytest.mark.full, id="http-20000"),
    pytest.param(("grpc",), 20000, marks=pytest.mark.full, id="grpc-20000"),
]


@pytest.mark.parametrize(("protocols", "requests"), _LOADS)
def test_an_image_change_rolls_without_a_failed_request(
    stage: Stage, report: Report, protocols: tuple[str, ...], requests: int
) -> None:
    _serve(stage)
    newer = stage.target.image("runtime", "e2e-next")
    loads = _start(stage, protocols)
    before = {pod["metadata"]["uid"] for pod in stage.pods("iris")}

    start = time.monotonic()
    stage.patch("pisvc", "iris", {"spec": {"predictor": {"model": {"image": newer}}}})
    eventually(
        lambda: {pod["metadata"]["uid"] for pod in stage.pods("iris")},
        lambda uids: not uids & before and len(uids) == 2,
        within=180,
        what="both pods were replaced",
        every=1,
    )
    stage.wait_rolled_out("iris", old_gone=True)
    rolled = time.monotonic() - start
    _finish(loads, report, "rollout-image", requests, seconds_to_roll=round(rolled, 1))

    assert {newer} == {pod["spec"]["containers"][0]["image"] for pod in stage.pods("iris")}


@pytest.mark.parametrize(("protocols", "requests"), _LOADS)
def test_a_model_change_rolls_without_a_failed_request_and_the_new_model_answers(
    stage: Stage, report: Report, protocols: tuple[str, ...], requests: int
) -> None:
    _serve(stage)
    stage.apply(manifests.config_map("iris-next", models.iris(shift=10)))
    loads = _start(stage, protocols)

    start = time.monotonic()
    stage.patch(
        "pisvc", "iris", {"spec": {"predictor": {"model": {"storageUri": "configmap://iris-next/model.skops"}}}}
    )
    eventually(
        lambda: stage.predict("iris", scheme="https")["data"],
        lambda data: data == [10],
        within=180,
        what="the new model answers",
        every=1,
    )
    stage.wait_rolled_out("iris", old_gone=True)
    rolled = time.monotonic() - start
    _finish(loads, report, "rollout-model", requests, seconds_to_roll=round(rolled, 1))

    assert stage.predict("iris", scheme="https")["data"] == [10]


@pytest.mark.parametrize(("protocols", "requests"), _LOADS[1:])
def test_every_pod_deleted_by_hand_loses_no_request(
    stage: Stage, report: Report, protocols: tuple[str, ...], requests: int
) -> None:
    _serve(stage)
    loads = _start(stage, protocols)

    for pod in stage.pods("iris"):
        stage.delete("pod", pod["metadata"]["name"], "--wait=false")
        stage.wait_rolled_out("iris")
    _finish(loads, report, "pods-deleted", requests)


@pytest.mark.full
def test_a_pod_that_ends_at_once_loses_requests_so_the_count_can_fail(stage: Stage) -> None:
    _serve(stage)
    load = stage.load("load", "http", "iris", tls=True, rate=_RATE)

    for pod in stage.pods("iris"):
        stage.delete("pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
    result = load.finish(least=3000, within=60)

    assert result.failed > 0


def _serve(stage: Stage) -> None:
    stage.issue("iris", "iris-tls")
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops", tls="iris-tls", minReplicas=2))
    stage.wait_ready("iris")
    stage.wait_rolled_out("iris")
    # The client's pod is there before anything is measured.
    assert stage.predict("iris", scheme="https")["data"] == [0]


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
