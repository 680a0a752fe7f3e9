"""No pods while nobody asks, and back with the first request: HTTP, HTTPS and gRPC, and nothing lost between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.full

_URI = "configmap://iris/model.skops"
#: Seconds without a request after which there are to be no pods.
_QUIET = 4
#: Seconds that a client gives a pod to start in.
_PATIENCE = 60
_BEHAVIOR = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": _QUIET}}}


def _deploy(stage: Stage, *, tls: str | None = None) -> None:
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", _URI, tls=tls, minReplicas=0, autoScaling=_BEHAVIOR))
    stage.wait_ready("iris", within=180)


def _asleep(stage: Stage) -> None:
    stage.wait_reason("iris", "ScaledToZero", status="True", within=120)
    eventually(lambda: stage.pods("iris"), lambda pods: not pods, within=90, what="the last pod is gone")


def _pod_took(stage: Stage, asked: float) -> float:
    """Seconds from a request to the pod that it started being Ready, as far as the API tells: whole seconds."""
    (pod,) = stage.pods("iris")
    (since,) = (c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "Ready")
    return time.mktime(time.strptime(since, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone - asked


def test_a_request_to_a_service_without_pods_is_answered_by_the_pod_that_it_starts(
    stage: Stage, report: Report
) -> None:
    _deploy(stage)
    before = stage.predict("iris")["data"]
    _asleep(stage)
    assert stage.get("pisvc", "iris")["status"]["url"]  # type: ignore[index]  # it is there

    asked = time.time()
    started = time.monotonic()
    host = f"http://iris-predictor.{stage.namespace}.svc.cluster.local"
    done = stage.client("curl", "--silent", "--fail-with-body", "--max-time", "60", f"{host}/v2/models/iris")
    took = time.monotonic() - started

    report.add("scale-to-zero-first-request", seconds=round(took, 2), pod_ready_after=round(_pod_took(stage, asked), 1))
    assert '"iris"' in done.stdout
    assert before == stage.predict("iris")["data"]


def test_https_and_grpc_wake_alike_and_tls_ends_in_the_pod(stage: Stage) -> None:
    stage.issue("iris", "iris-tls")
    _deploy(stage, tls="iris-tls")
    for wake in ("https", "grpc"):
        _asleep(stage)
        if wake == "https":
            url = f"https://iris-predictor.{stage.namespace}.svc.cluster.local/v2/models/iris"
            stage.client("curl", "--silent", "--fail", "--max-time", "60", "--cacert", "/certificates/ca.crt", url)
        else:
            load = stage.load("wake", "grpc", "iris", tls=True, rate=1, patience=_PATIENCE)
            result = load.finish(least=5, within=120)
            assert result.failed == 0, result.examples
        assert stage.predict("iris", scheme="https")["data"]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_load_that_meets_no_pods_loses_nothing(stage: Stage, report: Report, protocol: str) -> None:
    _deploy(stage)
    requests = failed = 0
    for turn in range(3):
        _asleep(stage)
        load = stage.load(f"load-{turn}", protocol, "iris", tls=False, rate=25, patience=_PATIENCE)
        result = load.finish(least=1000, within=120)
        requests, failed = requests + result.requests, failed + result.failed
        assert result.failed == 0, (result.failures, result.examples)
    report.add(f"scale-to-zero-load-{protocol}", requests=requests, failed=failed, turns=3)


def test_requests_around_the_moment_at_which_the_last_pod_goes_are_all_answered(stage: Stage, report: Report) -> None:
    _deploy(stage)
    url = f"http://iris-predictor.{stage.namespace}.svc.cluster.local/v2/models/iris/ready"
    # The last pod is told to go some eleven seconds after a request: pauses lie around that.
    script = (
        "failed=0; for turn in 1 2; do for pause in 9 10 11 12 13 15; do sleep $pause; "
        f"curl --silent --fail --output /dev/null --max-time 90 {url} || failed=$((failed + 1)); "
        "done; done; echo $failed"
    )
    done = stage.client("sh", "-c", script, within=500)
    report.add("scale-to-zero-around-the-end", requests=12, failed=int(done.stdout.split()[-1]))
    assert done.stdout.split()[-1] == "0"
