"""Which fields of a ServingRuntime this release acts on: all but those of ModelMesh and of serving on several nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.resources.honoured import UnhonouredField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.resources.servingruntime import ServingRuntimeSpec

__all__ = ["RUNTIME_NOT_YET", "unhonoured_runtime_fields"]

#: Fields that are accepted and not acted on, with the reason where there is more to say.
RUNTIME_NOT_YET: Mapping[str, str] = {
    "multiModel": "a runtime of several models, as ModelMesh has them, is never chosen",
    "workerSpec": "models are not spread over several pods",
    "grpcEndpoint": "",
    "grpcDataEndpoint": "",
    "httpDataEndpoint": "",
    "replicas": "the InferenceService says how many pods there are",
    "storageHelper": "files are always fetched before the runtime starts",
    "builtInAdapter": "",
}


def unhonoured_runtime_fields(spec: ServingRuntimeSpec) -> list[UnhonouredField]:
    """Return every field that is set and has no effect in this release, in the order of the schema."""
    found: list[UnhonouredField] = []
    for name, field in type(spec).model_fields.items():
        alias = field.alias or name
        if alias not in RUNTIME_NOT_YET or getattr(spec, name) in (None, False):
            continue
        if alias == "storageHelper" and spec.storage_helper is not None and not spec.storage_helper.disabled:
            continue
        found.append(UnhonouredField(f"spec.{alias}", RUNTIME_NOT_YET[alias]))
    return found
