"""`helm uninstall` takes the operator and nothing of the users'; a reinstall takes everything up again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.harness import manifests, models
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from e2e.harness.release import Release
    from e2e.harness.report import Report
    from e2e.harness.stage import Stage

pytestmark = pytest.mark.smoke


def test_uninstall_leaves_the_definitions_and_the_services_and_a_reinstall_takes_them_over(
    stage: Stage, release: Release, report: Report
) -> None:
    stage.apply(manifests.config_map("iris", models.iris()))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops"))
    stage.wait_ready("iris")
    served = {pod["metadata"]["uid"] for pod in stage.pods("iris")}

    release.uninstall()

    # Users' InferenceServices may name the built-in runtimes. The activator takes connections for a while yet.
    stays = ("clusterservingruntime", "customresource")
    eventually(
        lambda: [name for name in release.leftovers() if not name.startswith(stays)],
        lambda left: left == [],
        within=60,
        what="all of the release but what stays is gone",
    )
    eventually(lambda: not release.holder(), within=10, what="the Lease is given up or gone")
    definitions = release.target.kubectl("get", "crd", "--output=name").split()
    assert len([name for name in definitions if name.endswith(".serving.pillion.dev")]) == 6
    assert stage.predict("iris")["data"] == [0], "models are served without the operator"

    start = time.monotonic()
    seconds = release.install()
    # Sooner than the 12 s after which an abandoned Lease may be taken.
    eventually(release.leader, within=5, what="one of the new replicas leads")

    report.add("reinstall", seconds=round(seconds, 1), led_after_seconds=round(time.monotonic() - start, 1))
    stage.apply(manifests.inference_service("iris", "configmap://iris/model.skops", minReplicas=2))
    stage.wait_ready("iris")
    stage.wait_rolled_out("iris")
    assert served <= {pod["metadata"]["uid"] for pod in stage.pods("iris")}, "the reinstall replaced running pods"
