"""Artifacts: from a storage URI into a directory, verified, and all of it or nothing.

    artifact = await fetch("s3://models/iris", Path("/mnt/models"), FetchOptions(digest="sha256:..."))
    load(artifact.model_path)

The same code is the init container of pods (``python -m pillion.storage``) and runs in ``pillion serve``. Importing
this package, `parse_uri` included, imports neither obstore nor an HTTP client: those come with the first `fetch` that
needs them.
"""

from pillion.storage.artifact import Artifact, ArtifactFile, SourceVersion, read_record
from pillion.storage.digest import parse_digest, tree_digest
from pillion.storage.errors import EXIT_CODES, Reason, StorageError
from pillion.storage.fetching import fetch, fetch_sync
from pillion.storage.options import FetchOptions, settings
from pillion.storage.progress import Progress
from pillion.storage.uri import LATER_SCHEMES, SUPPORTED_SCHEMES, StorageUri, parse_uri, redact

__all__ = [
    "EXIT_CODES",
    "LATER_SCHEMES",
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
