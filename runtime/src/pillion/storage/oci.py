"""Images and artifacts of a registry as a source: ``oci://registry/repository:tag``, or ``...@sha256:<hex>``.

The tag is resolved once. Everything below its manifest is named by digest, so a tag that moves meanwhile mixes nothing,
a broken download goes on without a validator, and each blob is held to its digest while it comes. The artifact's digest
is that of the manifest (or index) that the tag stood for: what ``crane digest`` says. What is taken of a manifest:
`pillion.storage.oci_manifest`.
"""

from __future__ import annotations

import logging
import platform
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from pillion.oci.reference import Reference
from pillion.storage.errors import Reason, StorageError
from pillion.storage.layers import unpack_artifact, unpack_image
from pillion.storage.oci_manifest import Contents, child, contents
from pillion.storage.registry import RegistryReader
from pillion.storage.source import Body, Listing, SourceObject

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from pillion.oci.content import Descriptor
    from pillion.storage.artifact import ArtifactFile
    from pillion.storage.options import FetchOptions
    from pillion.storage.uri import StorageUri

__all__ = ["OciSource"]

_LOGGER: Final = logging.getLogger("pillion.storage")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_MAX_INDEXES: Final = 3


class OciSource:
    """What one reference stands for."""

    def __init__(self, uri: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> None:
        self._uri = uri
        self._options = options
        self._reference = Reference.parse(f"{uri.authority}/{uri.path}")
        self._registry = RegistryReader(self._reference, options, environment)

    async def list(self, *, versions: bool) -> Listing:  # noqa: ARG002 - they are digests
        """The files, or the layers that they come from."""
        root, data = await self._registry.manifest(self._reference.pointer)
        wanted = _ARCHITECTURES.get(platform.machine(), platform.machine())
        found, depth = root, 0
        while (following := child(found.media_type, data, wanted, str(self._uri))) is not None:
            depth += 1
            if depth > _MAX_INDEXES:
                raise StorageError(
                    Reason.OBJECT_NOT_FOUND, f"{self._uri} is an index of indexes", remedy="name the image itself"
                )
            found, data = await self._registry.manifest(following.digest)
        _LOGGER.info(
            "%s is %s", self._uri, root.digest,
            extra={"fields": {"event": "storage.resolved", "digest": root.digest, "manifest": found.digest}},
        )  # fmt: skip
        inside = contents(data, str(self._uri))
        if len(inside.files) + len(inside.layers) > self._options.max_files:
            raise StorageError(
                Reason.TOO_LARGE, f"{self._uri} has too many layers", remedy="raise PILLION_STORAGE_MAX_FILES"
            )
        return _listing(root.digest, inside)

    @asynccontextmanager
    async def open(self, item: SourceObject, offset: int, version: str | None) -> AsyncIterator[Body]:  # noqa: ARG002 - it is a digest
        """Stream a blob."""
        exchange = await self._registry.blob(item.key, offset)
        try:
            yield replace(exchange.body(f"{self._registry.shown}@{item.key}", "blob.gz"), version=item.version)
        finally:
            exchange.abort()

    async def close(self) -> None:
        """Connections live as long as their streams."""


def _listing(digest: str, inside: Contents) -> Listing:
    if not inside.layers:
        objects = tuple(_object(file.blob, file.path) for file in inside.files)
        return Listing(objects, single=len(objects) == 1 and "/" not in objects[0].path, digest=digest)
    blobs = dict.fromkeys([*inside.layers, *(file.blob for file in inside.files)])
    unique = {blob.digest: blob for blob in blobs}
    objects = tuple(_object(blob, blob.digest.removeprefix("sha256:")) for blob in unique.values())
    return Listing(objects, single=False, digest=digest, assemble=partial(_assemble, inside))


def _object(blob: Descriptor, path: str) -> SourceObject:
    return SourceObject(blob.digest, path, blob.size, blob.digest, blob.digest.removeprefix("sha256:"))


def _assemble(
    inside: Contents, data: Path, tree: Path, options: FetchOptions, stop: threading.Event
) -> tuple[ArtifactFile, ...]:
    layers = [data / layer.digest.removeprefix("sha256:") for layer in inside.layers]
    if inside.image:
        return unpack_image(layers, tree, options, stop)
    files = [(data / file.blob.digest.removeprefix("sha256:"), file.path) for file in inside.files]
    return unpack_artifact(layers, files, tree, options, stop)
