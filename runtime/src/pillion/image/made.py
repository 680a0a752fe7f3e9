"""An image that was made, and the places it can be written to: an OCI layout, an archive, a registry."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.oci.content import Descriptor, canonical
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.image.registry import Registry
    from pillion.oci.reference import Reference

__all__ = ["Blob", "Made", "push", "write_archive", "write_layout"]

_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer of the image.

    Attributes:
        descriptor: which.
        file: gives it as a file of this machine, fetched where it is not here yet.
        origin: the repository that has it already; None for what was made here.
    """

    descriptor: Descriptor
    file: Callable[[], Path]
    origin: Reference | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """An image for one platform, or an index of several.

    Attributes:
        root: what a tag points to.
        manifests: the documents that manifests are, by descriptor, the root last.
        configs: the configurations.
        layers: each once.
    """

    root: Descriptor
    manifests: Sequence[tuple[Descriptor, bytes]]
    configs: Sequence[tuple[Descriptor, bytes]]
    layers: Sequence[Blob]

    @property
    def size(self) -> int:
        """Bytes of all layers, compressed."""
        return sum(blob.descriptor.size for blob in self.layers)

    def index_json(self, name: str) -> bytes:
        """The entry of a layout. Source: OCI image specification, "Image Layout", and its annotation ref.name."""
        named = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
        return canonical({"schemaVersion": 2, "manifests": [self.root.document() | named]})


def write_layout(made: Made, folder: Path, name: str) -> None:
    """Write the image as a folder.

    Raises:
        ImageError: the folder is something else already, or cannot be written.
    """
    if folder.exists() and not (folder / "oci-layout").is_file() and any(folder.iterdir()):
        raise ImageError(f"{folder} is there already and is no OCI layout: name another", usage=True)
    blobs = folder / "blobs" / "sha256"
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        for descriptor, data in (*made.configs, *made.manifests):
            (blobs / _hex(descriptor)).write_bytes(data)
        for blob in made.layers:
            shutil.copyfile(blob.file(), blobs / _hex(blob.descriptor))
        (folder / "oci-layout").write_bytes(_LAYOUT)
        (folder / "index.json").write_bytes(made.index_json(name))
    except OSError as error:
        raise ImageError(f"{folder} cannot be written: {error.strerror or error}") from None


def write_archive(made: Made, file: Path, name: str, *, epoch: int) -> None:
    """Write the image as one file, which `docker load`, podman, skopeo and containerd read.

    Raises:
        ImageError: it cannot be written.
    """
    small = {f"blobs/sha256/{_hex(one)}": data for one, data in (*made.configs, *made.manifests)}
    small |= {"oci-layout": _LAYOUT, "index.json": made.index_json(name)}
    if len(made.configs) == 1:
        small["manifest.json"] = _for_docker(made, name)
    large = {f"blobs/sha256/{_hex(blob.descriptor)}": blob for blob in made.layers}
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}-", delete=False) as part:
            try:
                with tarfile.open(fileobj=part, mode="w", format=tarfile.PAX_FORMAT) as archive:
                    for path in sorted({*small, *large}):
                        _add(archive, path, small.get(path), large.get(path), epoch)
                part.flush()
                Path(part.name).chmod(0o644)
                Path(part.name).replace(file)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ImageError(f"{file} cannot be written: {error.strerror or error}") from None


def _add(archive: tarfile.TarFile, path: str, data: bytes | None, blob: Blob | None, epoch: int) -> None:
    member = tarfile.TarInfo(path)
    member.mtime, member.mode = epoch, 0o644
    if data is not None:
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    elif blob is not None:
        member.size = blob.descriptor.size
        with blob.file().open("rb") as content:
            archive.addfile(member, content)


def _for_docker(made: Made, name: str) -> bytes:
    """The list by which Docker finds the parts of an archive."""
    entry = {
        "Config": f"blobs/sha256/{_hex(made.configs[0][0])}",
        "RepoTags": [name] if name else [],
        "Layers": [f"blobs/sha256/{_hex(blob.descriptor)}" for blob in made.layers],
    }
    return json.dumps([entry]).encode()


def push(made: Made, registry: Registry, tell: Callable[[str], None]) -> str:
    """Send what the repository lacks, and the tag last; returns the image's name by its digest."""
    reference = registry.reference
    for blob in made.layers:
        _push_layer(blob, registry, tell)
    for descriptor, data in made.configs:
        if not registry.has(descriptor):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "config.json")
                file.write_bytes(data)
                registry.send(descriptor, file, lambda _: None)
    for descriptor, data in made.manifests:
        pointer = reference.tag if descriptor == made.root and reference.tag else descriptor.digest
        registry.put_manifest(data, descriptor.media_type, pointer)
    return reference.pinned(made.root.digest)


def _push_layer(blob: Blob, registry: Registry, tell: Callable[[str], None]) -> None:
    descriptor, to = blob.descriptor, registry.reference
    what = f"layer {descriptor.digest[7:19]} {descriptor.size / 1e6:,.1f} MB"
    if registry.has(descriptor):
        tell(f"{what}: there already")
        return
    origin = blob.origin
    if origin is not None and origin.registry == to.registry and registry.mount(descriptor, origin.repository):
        tell(f"{what}: taken over from {origin.repository}")
        return
    registry.send(descriptor, blob.file(), lambda _: None)
    tell(f"{what}: sent")


def _hex(descriptor: Descriptor) -> str:
    return descriptor.digest.removeprefix("sha256:")
