"""The operator never writes into what authors wrote: with it at work, git and cluster stay the same."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.definitions import eventually as succeeded
from tests.integration.operator.harness import OperatorProcess, eventually
from tests.integration.resources.corpus import ACCEPTED
from tests.integration.resources.difference import three_way_difference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane


@pytest.mark.parametrize("manifest", ACCEPTED, ids=lambda path: path.stem)
@pytest.mark.parametrize("side", [(), ("--server-side", "--force-conflicts")], ids=["client-side", "server-side"])
def test_a_manifest_that_the_operator_works_on_shows_no_difference(
    operator: OperatorProcess, cluster: ControlPlane, namespace: str, manifest: Path, side: tuple[str, ...]
) -> None:
    file = ("-n", namespace, "-f", str(manifest))
    with applied(cluster, *side, *file):
        assert_no_difference(cluster, manifest, side, file)


@contextlib.contextmanager
def applied(cluster: ControlPlane, *arguments: str) -> Iterator[None]:
    """Apply, and delete at the end: runtimes of the whole cluster would be chosen in other tests too."""
    cluster.kubectl("apply", *arguments)
    try:
        yield
    finally:
        file = arguments[arguments.index("-n") :]
        cluster.kubectl("delete", "--wait=false", *file)


def assert_no_difference(cluster: ControlPlane, manifest: Path, side: tuple[str, ...], file: tuple[str, ...]) -> None:
    """Wait until the operator has looked at all objects, and compare them with what was written."""

    def looked_at() -> list[dict[str, Any]] | None:
        got = json.loads(cluster.kubectl("get", "-o", "json", *file))
        found: list[dict[str, Any]] = got["items"] if got["kind"] == "List" else [got]
        seen = (f.get("status", {}).get("observedGeneration") == f["metadata"]["generation"] for f in found)
        return found if all(seen) else None

    stored = eventually(looked_at, pause=0.2)

    assert stored is not None
    # A status that is written between kubectl's two reads shows as a difference once; one in a spec stays.
    assert "" == succeeded(lambda: cluster.kubectl("diff", *side, *file))
    for written, live in zip(yaml.safe_load_all(manifest.read_text()), stored, strict=True):
        assert {} == three_way_difference(written, live)
        assert written["spec"] == live["spec"]
