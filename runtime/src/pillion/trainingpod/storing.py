"""The way of a model into storage: its files, and a record of what it was made of beside them.

The place has the content's digest in its name: the same model again is the same place, and nothing that is there is
ever overwritten. The record is written last.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pillion.storage.local_artifact import read_artifact
from pillion.storage.pushing import push_sync

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.trainingpod.order import Place, PodOrder

__all__ = ["store_model"]

_SHORT: Final = 12


def store_model(
    order: PodOrder, output: Place, folder: Path, lineage: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Upload the model's folder; what the status says of it: uri, digest, bytes.

    Raises:
        StorageError: there is nothing, or the store refuses or does not answer.
    """
    artifact = read_artifact(folder)
    below = f"{order.name}/{artifact.digest.removeprefix('sha256:')[:_SHORT]}"
    pushed = push_sync(artifact, f"{output.at.rstrip('/')}/{below}", environment)
    made = {"uri": f"{output.uri.rstrip('/')}/{below}", "digest": pushed.digest, "bytes": pushed.size}
    record = {
        **made,
        "training_job": {"namespace": order.namespace, "name": order.name, "uid": order.uid},
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "dataset": order.dataset_uri,
        "parameters": order.parameters,
        **lineage,
    }
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "record.json"
        file.write_text(json.dumps(record, indent=2, sort_keys=True), encoding="utf-8")
        # Whoever is tried again says when it was made anew; the model itself is the same.
        push_sync(read_artifact(file), f"{output.at.rstrip('/')}/{below}.json", environment, force=True)
    return made
