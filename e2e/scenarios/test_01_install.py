"""The chart on an empty cluster: installed, tested, removed, installed again."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

from e2e.harness.release import NAMESPACE, Release
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from e2e.harness.report import Report
    from e2e.harness.target import Target


@pytest.mark.parametrize("cycles", [pytest.param(1, marks=pytest.mark.smoke), pytest.param(10, marks=pytest.mark.full)])
def test_helm_install_on_an_empty_cluster_gives_two_replicas_with_one_leader(
    target: Target, report: Report, cycles: int
) -> None:
    release = Release(target)
    took: list[float] = []
    for _ in range(cycles):
        _empty(release)

        took.append(release.install())

        assert len(release.ready_pods()) == 2, "helm install --wait came back before both replicas were ready"
        eventually(release.leader, within=15, what="one replica holds the Lease")
    report.add(
        "install",
        cycles=len(took),
        installed=len(took),
        median_seconds=round(statistics.median(took), 1),
        max_seconds=round(max(took), 1),
    )


@pytest.mark.smoke
def test_helm_test_passes(release: Release) -> None:
    said = release.target.helm("test", "pillion", f"--namespace={NAMESPACE}", "--timeout=2m")

    assert "Phase:          Succeeded" in said


@pytest.mark.smoke
def test_the_operators_own_pods_fit_the_restricted_standard_without_a_warning(release: Release, target: Target) -> None:
    done = target.kubectl.run(
        "label",
        "--dry-run=server",
        "--overwrite",
        "namespace",
        NAMESPACE,
        "pod-security.kubernetes.io/enforce=restricted",
        "pod-security.kubernetes.io/enforce-version=latest",
    )

    assert "Warning" not in done.stderr


@pytest.mark.smoke
def test_an_upgrade_with_the_same_values_changes_no_pod(release: Release) -> None:
    before = sorted(pod["metadata"]["uid"] for pod in release.pods())

    release.ensure()

    assert before == sorted(pod["metadata"]["uid"] for pod in release.pods())


@pytest.mark.smoke
def test_the_built_in_runtimes_are_there_and_not_part_of_the_release(release: Release, target: Target) -> None:
    names = eventually(
        lambda: {item["metadata"]["name"] for item in target.kubectl.items("clusterservingruntimes")},
        lambda names: {"pillion-sklearn", "pillion-onnx"} <= names,
        within=30,
        what="the leader has applied the built-in runtimes",
    )

    assert {"pillion-sklearn", "pillion-onnx"} <= names
    manifest = target.helm("get", "manifest", "pillion", f"--namespace={NAMESPACE}")
    assert "kind: ClusterServingRuntime\n" not in manifest.replace("    kind: ClusterServingRuntime\n", "")


def _empty(release: Release) -> None:
    if release.installed:
        release.uninstall()
    release.delete_definitions()
