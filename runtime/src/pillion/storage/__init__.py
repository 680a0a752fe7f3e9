"""Artifacts: from a storage URI into a directory, verified, and all of it or nothing.

    artifact = await fetch("s3://models/iris", Path("/mnt/models"), FetchOptions(digest="sha256:..."))
    load(artifact.model_path)

The same code is the init container of pods (``python -m pillion.storage``) and runs in ``pillion serve``. The
names are exported lazily: `parse_uri` and `Reason` cost no more than the standard library's string handling, and
obstore is imported by the first `fetch` of a URI that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pillion.storage.artifact import Artifact, ArtifactFile, SourceVersion, read_record
    from pillion.storage.digest import parse_digest, tree_digest
    from pillion.storage.errors import EXIT_CODES, Reason, StorageError
    from pillion.storage.fetching import fetch, fetch_sync
    from pillion.storage.options import FetchOptions, settings
    from pillion.storage.progress import Progress
    from pillion.storage.uri import SUPPORTED_SCHEMES, StorageUri, parse_uri, redact

__all__ = [
    "EXIT_CODES",
    "SUPPORTED_SCHEMES",
    "Artifact",
    "ArtifactFile",
    "FetchOptions",
    "Progress",
    "Reason",
    "SourceVersion",
    "StorageError",
    "StorageUri",
    "fetch",
    "fetch_sync",
    "parse_digest",
    "parse_uri",
    "read_record",
    "redact",
    "settings",
    "tree_digest",
]


_MODULES: Final = {
    "artifact": ("Artifact", "ArtifactFile", "SourceVersion", "read_record"),
    "digest": ("parse_digest", "tree_digest"),
    "errors": ("EXIT_CODES", "Reason", "StorageError"),
    "fetching": ("fetch", "fetch_sync"),
    "options": ("FetchOptions", "settings"),
    "progress": ("Progress",),
    "uri": ("SUPPORTED_SCHEMES", "StorageUri", "parse_uri", "redact"),
}
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module of a name when the name is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
