"""The operator never writes into what authors wrote: with it at work, git and cluster stay the same."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from pillion.resources.crd import KINDS
from tests.integration.definitions import eventually as succeeded
from tests.integration.operator.harness import Api, Object, OperatorProcess, eventually
from tests.integration.resources.corpus import ACCEPTED
from tests.integration.resources.difference import three_way_difference
from tests.yamls import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane


@pytest.mark.parametrize("manifest", ACCEPTED, ids=lambda path: path.stem)
@pytest.mark.parametrize("side", [(), ("--server-side", "--force-conflicts")], ids=["client-side", "server-side"])
def test_a_manifest_that_the_operator_works_on_shows_no_difference(
    operator: OperatorProcess, cluster: ControlPlane, api: Api, namespace: str, manifest: Path, side: tuple[str, ...]
) -> None:
    file = ("-n", namespace, "-f", str(manifest))
    with applied(cluster, *side, *file):
        # Wait until the operator has looked at all objects, and compare them with what was written.
        documents = parsed(manifest)
        stored = eventually(lambda: looked_at(api, namespace, documents), pause=0.2)
        assert stored is not None
        # A status that is written between kubectl's two reads shows as a difference once; one in a spec stays.
        assert "" == succeeded(lambda: cluster.kubectl("diff", *side, *file))
        for written, live in zip(documents, stored, strict=True):
            assert {} == three_way_difference(written, live)
            assert written["spec"] == live["spec"]


@contextlib.contextmanager
def applied(cluster: ControlPlane, *arguments: str) -> Iterator[None]:
    """Apply, and delete at the end: runtimes of the whole cluster would be chosen in other tests too."""
    cluster.kubectl("apply", *arguments)
    try:
        yield
    finally:
        file = arguments[arguments.index("-n") :]
        cluster.kubectl("delete", "--wait=false", *file)


def looked_at(api: Api, namespace: str, documents: list[Object]) -> list[Object] | None:
    """The objects as they are stored, once the operator has looked at each."""
    found = [stored(api, namespace, document) for document in documents]
    seen = (f.get("status", {}).get("observedGeneration") == f["metadata"]["generation"] for f in found)
    return found if all(seen) else None


def stored(api: Api, namespace: str, document: Object) -> Object:
    """Asked for without a start of kubectl, which takes a tenth of a second of a processor."""
    kind = next(kind for kind in KINDS if kind.name == document["kind"])
    space = f"namespaces/{namespace}/" if kind.namespaced else ""
    answer = api.send("GET", f"/apis/{document['apiVersion']}/{space}{kind.plural}/{document['metadata']['name']}")
    assert 200 == answer.status_code, answer.text
    found: Object = answer.json()
    return found
