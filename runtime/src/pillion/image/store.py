"""Blobs that were made or fetched on this machine, by digest, so that the next build finds them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.image.content import Descriptor, parsed
from pillion.image.documents import Layer
from pillion.image.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BlobStore"]


class BlobStore:
    """A folder of blobs and of layers by the inputs that they were made of. Safe for several builds at a time.

    Args:
        folder: is made where it is not there.

    Raises:
        ImageError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs" / "sha256"
        self._layers = folder / "layers"
        self._scratch = folder / "scratch"
        try:
            for one in (self._blobs, self._layers, self._scratch):
                one.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{folder} cannot be written: {error.strerror or error}") from None

    def find(self, descriptor: Descriptor) -> Path | None:
        """The blob's file; None where it is not here whole."""
        path = self._blobs / descriptor.digest.removeprefix("sha256:")
        return path if path.is_file() and path.stat().st_size == descriptor.size else None

    def take(self, descriptor: Descriptor, chunks: Iterable[bytes], where: str) -> Path:
        """Keep a blob.

        Raises:
            ImageError: it has another size or digest than its descriptor says; nothing is kept.
        """
        digest, size = hashlib.sha256(), 0
        with self.scratch() as scratch:
            part = scratch / "blob"
            with part.open("wb") as target:
                for chunk in chunks:
                    size += len(chunk)
                    if size > descriptor.size:
                        break
                    digest.update(chunk)
                    target.write(chunk)
            if size != descriptor.size or f"sha256:{digest.hexdigest()}" != descriptor.digest:
                raise ImageError(f"{where}: the content of {descriptor.digest} is damaged: nothing of it was used")
            return self.adopt(descriptor, part)

    def adopt(self, descriptor: Descriptor, file: Path) -> Path:
        """Keep a file that has been digested already; it is moved."""
        path = self._blobs / descriptor.digest.removeprefix("sha256:")
        file.replace(path)
        return path

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder on the same file system as the blobs, for as long as the block lasts."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            yield Path(folder)

    def layer(self, key: str) -> Layer | None:
        """The layer that was made of the inputs with that key, where it is still here whole."""
        path = self._layers / f"{key}.json"
        if not path.is_file():
            return None
        document = parsed(path.read_bytes(), str(path))
        descriptor = Descriptor.read(document, str(path))
        if self.find(descriptor) is None:
            return None
        return Layer(descriptor, str(document["diffId"]), str(document["what"]))

    def remember(self, key: str, layer: Layer) -> None:
        """Note which inputs gave the layer."""
        document = layer.descriptor.document() | {"diffId": layer.diff_id, "what": layer.what}
        with self.scratch() as scratch:
            part = scratch / "layer.json"
            part.write_text(json.dumps(document), encoding="utf-8")
            part.replace(self._layers / f"{key}.json")
