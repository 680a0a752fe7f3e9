from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.integration.resources.corpus import ACCEPTED, REJECTED, Rejected
from tests.integration.resources.difference import three_way_difference

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

by_file = pytest.mark.parametrize("manifest", ACCEPTED, ids=lambda path: path.stem)


def refused(control_plane: ControlPlane, *arguments: str) -> str:
    """Run kubectl, which must fail, and return what it said."""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        control_plane.kubectl(*arguments)
    said: str = failed.value.stderr
    return said


def stored(control_plane: ControlPlane, namespace: str, manifest: Path) -> list[dict[str, object]]:
    got = json.loads(control_plane.kubectl("get", "-n", namespace, "-o", "json", "-f", str(manifest)))
    items: list[dict[str, object]] = got["items"] if got["kind"] == "List" else [got]
    return items


@by_file
def test_an_accepted_manifest_shows_no_difference_after_client_side_apply(
    installed: ControlPlane, namespace: str, manifest: Path
) -> None:
    installed.kubectl("apply", "-n", namespace, "-f", str(manifest))

    assert "" == installed.kubectl("diff", "-n", namespace, "-f", str(manifest))
    for written, live in zip(documents(manifest), stored(installed, namespace, manifest), strict=True):
        assert {} == three_way_difference(written, live)


@by_file
def test_an_accepted_manifest_shows_no_difference_after_server_side_apply(
    installed: ControlPlane, namespace: str, manifest: Path
) -> None:
    # The tests share the objects of the cluster's scope; who else applied them is not of interest here.
    installed.kubectl("apply", "-n", namespace, "--server-side", "--force-conflicts", "-f", str(manifest))

    diff = ("diff", "-n", namespace, "--server-side", "--force-conflicts", "-f", str(manifest))
    assert "" == installed.kubectl(*diff)
    for written, live in zip(documents(manifest), stored(installed, namespace, manifest), strict=True):
        assert {} == three_way_difference(written, live)
        assert written["spec"] == live["spec"]


@pytest.mark.parametrize("case", REJECTED, ids=lambda case: case.path.stem)
def test_the_api_server_refuses_and_names_the_field(installed: ControlPlane, case: Rejected) -> None:
    ways = [["--server-side"]] if case.server_side_only else [["--server-side"], []]
    for way in ways:
        said = refused(installed, "apply", *way, "-f", str(case.path))
        if "failed to create typed patch object" in said:
            # Server-side apply finds faults of type before validation does, and has its own syntax for list items.
            assert f".{case.field}".partition("[")[0] in said
        else:
            assert case.field in said
            assert case.says in said


def documents(manifest: Path) -> list[dict[str, object]]:
    return list(yaml.safe_load_all(manifest.read_text()))
