"""A model's files into a registry, as an artifact that holds nothing else: ``pillion push iris/ oci://...``.

Each file is a layer under its name, as ORAS has it, so that other clients read it, too. Nothing but names and content
goes into the manifest: the same files give the same digest, which is the one that pulls exactly them. Source: OCI image
specification 1.1, "Guidelines for Artifact Usage".
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.image.registry import Registry
from pillion.oci.content import MANIFEST, Descriptor, Document, canonical, digest_of
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.oci.reference import Reference
    from pillion.storage.local_artifact import LocalArtifact

__all__ = ["manifest_of", "push_artifact"]

_KIND: Final = "application/vnd.pillion.model"
_FILE: Final = "application/octet-stream"
_EMPTY: Final = b"{}"
_EMPTY_CONFIG: Final = Descriptor("application/vnd.oci.empty.v1+json", digest_of(_EMPTY), len(_EMPTY))


def manifest_of(artifact: LocalArtifact) -> bytes:
    """The manifest of an artifact. Pure."""
    layers = [
        Descriptor(_FILE, f"sha256:{file.sha256}", file.size).document()
        | {"annotations": {"org.opencontainers.image.title": file.path}}
        for file in artifact.files
    ]
    document: Document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": _KIND,
        "config": _EMPTY_CONFIG.document(),
        "layers": layers,
    }
    return canonical(document)


def push_artifact(
    artifact: LocalArtifact,
    reference: Reference,
    environ: Mapping[str, str],
    *,
    insecure: frozenset[str],
    force: bool,
    tell: Callable[[int], None],
) -> tuple[str, bool]:
    """Upload what is not there yet, and name it by the tag; the digest, and whether it was there already.

    Args:
        artifact: from `read_artifact`.
        reference: registry, repository and tag.
        environ: where Docker's configuration is found.
        insecure: registries that are reached over plain HTTP.
        force: give the tag to this one where another has it.
        tell: called with the bytes that have been sent since.

    Raises:
        ImageError: the registry refuses, or the tag is another's.
    """
    data = manifest_of(artifact)
    digest = digest_of(data)
    with Registry(reference, environ, insecure=insecure, push=True) as registry:
        there = _there(registry, reference.tag)
        if there == digest:
            return digest, True
        if there is not None and not force:
            raise ImageError(
                f"{reference} is there already, with other content ({there}): take another tag, or --force", usage=True
            )
        for file in {file.sha256: file for file in artifact.files}.values():
            blob = Descriptor(_FILE, f"sha256:{file.sha256}", file.size)
            if registry.has(blob):
                tell(file.size)
            else:
                registry.send(blob, file.source, tell)
        if not registry.has(_EMPTY_CONFIG):
            with tempfile.NamedTemporaryFile() as config:
                config.write(_EMPTY)
                config.flush()
                registry.send(_EMPTY_CONFIG, Path(config.name), lambda _: None)
        registry.put_manifest(data, MANIFEST, reference.tag)
    return digest, False


def _there(registry: Registry, tag: str) -> str | None:
    try:
        return registry.manifest(tag)[0].digest
    except ImageError as error:
        if error.usage:  # there is none
            return None
        raise
