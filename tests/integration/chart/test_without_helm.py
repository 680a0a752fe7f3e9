"""The ways in without Helm: one file with plain `kubectl apply`, and kustomize."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster.node import gotools
from e2e.cluster.node.apiserver import ControlPlane
from scripts.chart.install import objects
from tests.yamls import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "pillion"
INSTALL = ROOT / "config" / "install.yaml"
BASE, OVERLAY = ROOT / "config", ROOT / "examples" / "gitops"
#: What client-side apply keeps a copy of an object in may have no more bytes than this. Source: apimachinery.
ANNOTATIONS_LIMIT = 256 * 1024


@pytest.fixture
def empty() -> Iterator[ControlPlane]:
    """A control plane of the test's own, on which nothing is installed."""
    with ControlPlane() as started:
        yield started


def built(folder: Path) -> list[dict[str, Any]]:
    """What the kustomize program makes of a folder."""
    program = gotools.ensure(["kustomize"])["kustomize"]
    done = subprocess.run([program, "build", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


def by_name(found: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(d["kind"], d["metadata"].get("namespace", ""), d["metadata"]["name"]): d for d in found}


def generations(cluster: ControlPlane) -> dict[str, int]:
    """How often the spec of each object has changed."""
    got = json.loads(cluster.kubectl("get", "-o", "json", "-f", str(INSTALL)))["items"]
    return {f"{d['kind']}/{d['metadata']['name']}": d["metadata"].get("generation", 0) for d in got}


def test_the_base_is_what_the_chart_renders() -> None:
    chart = objects(gotools.ensure(["helm"])["helm"], CHART)

    assert by_name(chart) == by_name(built(BASE))


def test_an_overlay_with_namespace_and_images_is_what_the_chart_renders_with_those_values() -> None:
    helm = gotools.ensure(["helm"])["helm"]
    chart = objects(helm, CHART, "--set", "image.registry=registry.example.com/ml", namespace="model-serving")

    assert by_name(chart) == by_name(built(OVERLAY))


def test_kubectl_builds_the_same_as_kustomize(control_plane: ControlPlane) -> None:
    kubectls = parsed(control_plane.kubectl("kustomize", str(OVERLAY)))

    # The kustomize that is built into kubectl takes these for kinds of a namespace; the API server drops it again.
    for document in kubectls:
        if document["kind"].startswith("ValidatingAdmissionPolicy"):
            document["metadata"].pop("namespace", None)
    assert by_name(built(OVERLAY)) == by_name(kubectls)


def test_no_object_is_too_large_for_what_kubectl_keeps_of_it() -> None:
    sizes = {d["metadata"]["name"]: len(json.dumps(d, separators=(",", ":"))) for d in parsed(INSTALL)}

    assert {} == {name: size for name, size in sizes.items() if size > ANNOTATIONS_LIMIT}


@pytest.mark.parametrize("way", [["-f", str(INSTALL)], ["-k", str(BASE)]], ids=["file", "kustomize"])
@pytest.mark.parametrize("side", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_one_apply_installs_everything_and_nothing_differs_after(
    empty: ControlPlane, way: list[str], side: list[str]
) -> None:
    applied = empty.kubectl("apply", *side, *way).splitlines()

    assert len(parsed(INSTALL)) == len(applied)
    assert "" == empty.kubectl("diff", *side, *way)
    before = generations(empty)
    empty.kubectl("apply", *side, *way)
    assert before == generations(empty)
