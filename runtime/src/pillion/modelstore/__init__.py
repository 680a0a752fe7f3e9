"""Registered model versions in a folder: what training ends in, and what management deploys from.

    store = ModelStore(Path("models"))
    version = store.register("iris", Path("out"), {"accuracy": 0.97})
    store.alias("iris", "stable", version.version)
    store.get("iris@stable").path

Several processes may use one folder at a time, and nothing in it is ever half a version: see
:mod:`pillion.modelstore.store`.
"""

from pillion.modelstore.names import check_alias, check_name, split_reference
from pillion.modelstore.records import FailedLoad, ModelVersion, Trained
from pillion.modelstore.staging import StagedFile, Staging
from pillion.modelstore.store import Hold, ModelStore, check_new

__all__ = [
    "FailedLoad",
    "Hold",
    "ModelStore",
    "ModelVersion",
    "StagedFile",
    "Staging",
    "Trained",
    "check_alias",
    "check_name",
    "check_new",
    "split_reference",
]
