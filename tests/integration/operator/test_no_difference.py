"""The operator never writes into what authors wrote: with it at work, git and cluster stay the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.operator.harness import Api, OperatorProcess, eventually
from tests.integration.resources.corpus import ACCEPTED
from tests.integration.resources.difference import three_way_difference

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane


@pytest.mark.parametrize("manifest", ACCEPTED, ids=lambda path: path.stem)
@pytest.mark.parametrize("side", [(), ("--server-side", "--force-conflicts")], ids=["client-side", "server-side"])
def test_a_manifest_that_the_operator_works_on_shows_no_difference(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, manifest: Path, side: tuple[str, ...]
) -> None:
    file = ("-n", namespace, "-f", str(manifest))
    cluster.kubectl("apply", *side, *file)

    def looked_at() -> list[dict[str, Any]] | None:
        got = json.loads(cluster.kubectl("get", "-o", "json", *file))
        found: list[dict[str, Any]] = got["items"] if got["kind"] == "List" else [got]
        seen = (f.get("status", {}).get("observedGeneration") == f["metadata"]["generation"] for f in found)
        return found if all(seen) else None

    stored = eventually(looked_at, pause=0.2)

    assert stored is not None
    assert "" == cluster.kubectl("diff", *side, *file)
    for written, live in zip(yaml.safe_load_all(manifest.read_text()), stored, strict=True):
        assert {} == three_way_difference(written, live)
        assert written["spec"] == live["spec"]
