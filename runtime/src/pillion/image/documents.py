"""The documents of an image made on a base: configuration, manifest, index. Pure: values in, values out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pillion.oci.content import CONFIG, INDEX, LAYER_GZIP, MANIFEST, Descriptor, Document, Platform
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DEPENDENCIES", "PYTHON", "Layer", "child_config", "index", "manifest", "python_of", "require_runtime"]

DEPENDENCIES: Final = "/opt/app/lib"
"""Where the project's dependencies are in the image. It comes before the base's own on Python's path."""
PYTHON: Final = "3.11"
"""Python of the base where the base does not say."""
_DOCKER_LAYERS: Final = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
}
"""Docker's names for the same bytes: an OCI manifest has OCI's names only."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that was made here.

    Attributes:
        descriptor: the compressed blob.
        diff_id: digest of the layer before compression.
        what: what it holds, for the image's history.
    """

    descriptor: Descriptor
    diff_id: str
    what: str


def require_runtime(config: Document, base: str) -> None:
    """Refuse a base that does not start Pillion.

    Raises:
        ImageError: another program is its entry point.
    """
    entry = _section(config).get("Entrypoint") or []
    if "pillion.server" not in entry:
        said = " ".join(str(part) for part in entry) or "none"
        raise ImageError(
            f"{base} is no image of Pillion's runtime: its entry point is {said}. "
            "Name one with --base, or an image made FROM it",
            usage=True,
        )


def python_of(config: Document) -> str:
    """The base's Python, as ``3.11``: what the official images say in PYTHON_VERSION, else that of our own image."""
    said = _environment(config).get("PYTHON_VERSION", "")
    return ".".join(said.split(".")[:2]) if said.count(".") else PYTHON


def child_config(
    base: Document, layers: Sequence[Layer], *, environment: Mapping[str, str], labels: Mapping[str, str], epoch: int
) -> Document:
    """The configuration of an image that adds layers to a base; user, entry point and ports stay the base's."""
    created = dt.datetime.fromtimestamp(epoch, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    section = _section(base)
    variables = _environment(base)
    if "PYTHONPATH" in environment and variables.get("PYTHONPATH"):
        environment = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{variables['PYTHONPATH']}"}
    merged = variables | dict(environment)
    rootfs: dict[str, Any] = base.get("rootfs") or {}
    return {
        **base,
        "created": created,
        "config": {
            **section,
            "Env": [f"{name}={value}" for name, value in merged.items()],
            "Labels": {**(section.get("Labels") or {}), **labels},
        },
        "rootfs": {"type": "layers", "diff_ids": [*(rootfs.get("diff_ids") or []), *(one.diff_id for one in layers)]},
        "history": [
            *(base.get("history") or []),
            *({"created": created, "created_by": "pillion build", "comment": one.what} for one in layers),
        ],
    }


def manifest(
    base: Document, config: Descriptor, layers: Sequence[Layer], *, base_digest: str, base_name: str
) -> Document:
    """The manifest: the base's layers as they are, then the new ones."""
    below = [Descriptor.read(layer, "the base's manifest") for layer in base.get("layers") or []]
    kept = [Descriptor(_DOCKER_LAYERS.get(one.media_type, one.media_type), one.digest, one.size) for one in below]
    annotations = {"org.opencontainers.image.base.digest": base_digest}
    if base_name:
        annotations["org.opencontainers.image.base.name"] = base_name
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": Descriptor(CONFIG, config.digest, config.size).document(),
        "layers": [one.document() for one in (*kept, *(layer.descriptor for layer in layers))],
        "annotations": annotations,
    }


def index(manifests: Mapping[Platform, Descriptor]) -> Document:
    """The index that leads each platform to its manifest."""
    return {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {**found.document(), "platform": {"os": "linux", "architecture": platform.architecture}}
            for platform, found in sorted(manifests.items())
        ],
    }


def _section(config: Document) -> Document:
    found = config.get("config")
    return found if isinstance(found, dict) else {}


def _environment(config: Document) -> dict[str, str]:
    pairs = (str(entry).partition("=") for entry in _section(config).get("Env") or [])
    return {name: value for name, _, value in pairs}
