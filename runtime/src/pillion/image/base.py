"""The image that a build adds to: from a registry, an OCI layout, or an archive of one."""

from __future__ import annotations

import contextlib
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pillion.image.registry import Registry
from pillion.oci.content import INDEXES, MANIFESTS, Descriptor, Document, Platform, digest_of, parsed
from pillion.oci.errors import ImageError
from pillion.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pillion.image.store import BlobStore

__all__ = ["Base", "BaseImage", "open_base"]

_CHUNK: Final = 1 << 20


class _Reader(Protocol):
    """Where a base's content is read from."""

    def roots(self) -> Sequence[Document]:
        """Descriptors, as documents, of what the name stands for."""

    def document(self, descriptor: Descriptor) -> bytes:
        """A small blob: an index, a manifest, a configuration."""

    def blob(self, descriptor: Descriptor) -> Path:
        """A blob as a file of this machine."""


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The base for one platform."""

    manifest: Document
    config: Document
    digest: str


@dataclass(frozen=True, slots=True)
class Base:
    """A base, opened.

    Attributes:
        name: as it was given.
        origin: the repository it comes from; None for one of this machine.
    """

    name: str
    origin: Reference | None
    reader: _Reader

    def image(self, platform: Platform) -> BaseImage:
        """The image for the platform.

        Raises:
            ImageError: there is none for it.
        """
        found: dict[Platform, Descriptor] = {}
        for document in self.reader.roots():
            self._collect(document, found)
        descriptor = found.get(platform)
        if descriptor is None:
            there = ", ".join(str(one) for one in sorted(found)) or "no platform of ours"
            raise ImageError(
                f"{self.name} has no image for {platform}, only for {there}: name another --base", usage=True
            )
        manifest = parsed(self.reader.document(descriptor), f"{self.name}, manifest")
        config = Descriptor.read(manifest.get("config") or {}, f"{self.name}, manifest")
        return BaseImage(manifest, parsed(self.reader.document(config), f"{self.name}, config"), descriptor.digest)

    def _collect(self, document: Document, found: dict[Platform, Descriptor]) -> None:
        descriptor = Descriptor.read(document, self.name)
        if descriptor.media_type in INDEXES:
            for inner in parsed(self.reader.document(descriptor), self.name).get("manifests") or []:
                self._collect(inner, found)
        elif descriptor.media_type in MANIFESTS:
            # The configuration says it, too, and is there also where no index does.
            platform = document.get("platform") or self._said_by_config(descriptor)
            if platform.get("os") == "linux" and platform.get("architecture") in {"amd64", "arm64"}:
                found.setdefault(Platform(str(platform["architecture"])), descriptor)

    def _said_by_config(self, descriptor: Descriptor) -> Document:
        manifest = parsed(self.reader.document(descriptor), self.name)
        config = Descriptor.read(manifest.get("config") or {}, self.name)
        return parsed(self.reader.document(config), self.name)


@contextlib.contextmanager
def open_base(
    name: str, store: BlobStore, environ: Mapping[str, str], *, insecure: frozenset[str] = frozenset()
) -> Iterator[Base]:
    """Open a base by what a user calls it: a folder, a .tar, or an image of a registry.

    Raises:
        ImageError: there is none, or it is in a form that cannot be read.
    """
    path = Path(name)
    if path.is_dir():
        yield Base(name, None, _Layout(path))
    elif path.suffix == ".tar" or path.is_file():
        try:
            with tarfile.open(path) as archive:
                yield Base(name, None, _Archive(path, archive, store))
        except FileNotFoundError:
            raise ImageError(f"--base {name}: no such file", usage=True) from None
        except tarfile.TarError as error:
            raise ImageError(f"--base {name}: not a tar archive: {error}", usage=True) from None
    else:
        reference = Reference.parse(name)
        with Registry(reference, environ, insecure=insecure, push=False) as registry:
            yield Base(name, reference, _Remote(registry, store))


def _roots_of(index: bytes, name: str) -> Sequence[Document]:
    found = parsed(index, f"{name}, index.json").get("manifests")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


class _Layout:
    """A folder as the OCI image layout has it; content is used where it lies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def roots(self) -> Sequence[Document]:
        index = self._folder / "index.json"
        if not index.is_file():
            raise ImageError(f"--base {self._folder}: not an OCI layout: it has no index.json", usage=True)
        return _roots_of(index.read_bytes(), str(self._folder))

    def document(self, descriptor: Descriptor) -> bytes:
        data = self.blob(descriptor).read_bytes()
        if digest_of(data) != descriptor.digest:
            raise ImageError(f"{self._folder}: the content of {descriptor.digest} is damaged")
        return data

    def blob(self, descriptor: Descriptor) -> Path:
        path = self._folder / "blobs" / "sha256" / descriptor.digest.removeprefix("sha256:")
        if not path.is_file() or path.stat().st_size != descriptor.size:
            raise ImageError(f"{self._folder}: {descriptor.digest} is missing or cut short: copy the layout again")
        return path


class _Archive:
    """A tar of an OCI layout, as buildah, skopeo and newer Dockers write it; its layers are unpacked when needed."""

    def __init__(self, path: Path, archive: tarfile.TarFile, store: BlobStore) -> None:
        self._path = path
        self._archive = archive
        self._store = store

    def roots(self) -> Sequence[Document]:
        try:
            return _roots_of(self._read("index.json"), str(self._path))
        except KeyError:
            raise ImageError(
                f"--base {self._path}: not an OCI archive: it has no index.json. Write one with "
                "`skopeo copy SOURCE oci-archive:base.tar`, or a newer `docker save`",
                usage=True,
            ) from None

    def document(self, descriptor: Descriptor) -> bytes:
        data = self._read(self._name(descriptor))
        if digest_of(data) != descriptor.digest:
            raise ImageError(f"{self._path}: the content of {descriptor.digest} is damaged")
        return data

    def blob(self, descriptor: Descriptor) -> Path:
        kept = self._store.find(descriptor)
        if kept is not None:
            return kept
        content = self._archive.extractfile(self._name(descriptor))
        if content is None:
            raise ImageError(f"{self._path}: {descriptor.digest} is no file")
        with content:
            return self._store.take(descriptor, iter(lambda: content.read(_CHUNK), b""), str(self._path))

    def _read(self, name: str) -> bytes:
        content = self._archive.extractfile(name)
        return b"" if content is None else content.read()

    def _name(self, descriptor: Descriptor) -> str:
        name = f"blobs/sha256/{descriptor.digest.removeprefix('sha256:')}"
        if name not in self._archive.getnames():
            raise ImageError(f"{self._path}: {descriptor.digest} is missing: write the archive again")
        return name


class _Remote:
    """An image of a registry; what is fetched of it is kept."""

    def __init__(self, registry: Registry, store: BlobStore) -> None:
        self._registry = registry
        self._store = store
        self._manifests: dict[str, bytes] = {}
        self._root: Descriptor | None = None

    def roots(self) -> Sequence[Document]:
        if self._root is None:
            self._root, data = self._registry.manifest(self._registry.reference.pointer)
            self._manifests[self._root.digest] = data
        return [self._root.document()]

    def document(self, descriptor: Descriptor) -> bytes:
        if descriptor.media_type not in (*INDEXES, *MANIFESTS):
            return self.blob(descriptor).read_bytes()
        if descriptor.digest not in self._manifests:
            self._manifests[descriptor.digest] = self._registry.manifest(descriptor.digest)[1]
        return self._manifests[descriptor.digest]

    def blob(self, descriptor: Descriptor) -> Path:
        kept = self._store.find(descriptor)
        if kept is not None:
            return kept
        with self._registry.blob(descriptor) as chunks:
            return self._store.take(descriptor, chunks, str(self._registry.reference))
