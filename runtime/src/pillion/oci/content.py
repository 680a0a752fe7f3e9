"""What images consist of: blobs by their digest, and platforms. Source: OCI image specification 1.1."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CONFIG",
    "INDEX",
    "INDEXES",
    "LAYER_GZIP",
    "MANIFEST",
    "MANIFESTS",
    "Descriptor",
    "Document",
    "Platform",
    "canonical",
    "digest_of",
    "parsed",
]

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
INDEXES: Final = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS: Final = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")

Document = dict[str, Any]
"""A JSON object of the specification. What is read of it is checked where it is read."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob: what it is, its digest, its size in bytes."""

    media_type: str
    digest: str
    size: int

    def document(self) -> Document:
        """As it stands in manifests."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    @classmethod
    def read(cls, document: Mapping[str, Any], where: str) -> Descriptor:
        """Read one.

        Raises:
            ImageError: something of it is missing; names ``where``.
        """
        media_type, digest, size = (document.get(key) for key in ("mediaType", "digest", "size"))
        if not isinstance(media_type, str) or not isinstance(digest, str) or not isinstance(size, int):
            raise ImageError(f"{where}: a descriptor without mediaType, digest and size")
        if (
            not digest.startswith("sha256:")
            or not all(c in "0123456789abcdef" for c in digest[7:])
            or len(digest) != 71
        ):
            raise ImageError(f"{where}: {digest} is no sha256 digest")
        return cls(media_type, digest, size)


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """What an image runs on; the system is always Linux."""

    architecture: str

    @property
    def machine(self) -> str:
        """The architecture as Python's wheels call it."""
        return _MACHINES[self.architecture]

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``linux/arm64`` or ``arm64``.

        Raises:
            ImageError: not one that images are made for.
        """
        architecture = text.removeprefix("linux/")
        if architecture not in _MACHINES:
            known = " and ".join(f"linux/{name}" for name in _MACHINES)
            raise ImageError(f"--platform {text}: images are made for {known}", usage=True)
        return cls(architecture)

    def __str__(self) -> str:
        """As people write it."""
        return f"linux/{self.architecture}"


_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}


def digest_of(data: bytes) -> str:
    """The digest by which content is addressed."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical(document: Document) -> bytes:
    """A document's bytes: the same for equal content."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def parsed(data: bytes, where: str) -> Document:
    """The JSON object in the bytes.

    Raises:
        ImageError: it is none.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ImageError(f"{where}: not a JSON object")
    return found
