"""Blobs that were made or fetched on this machine, by digest, so that the next build finds them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.image.documents import Layer
from pillion.image.expiry import MOST_BYTES, Kept, expendable
from pillion.oci.content import Descriptor, parsed
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BlobStore"]

_ABANDONED_SECONDS: Final = 86_400.0
"""Age of a scratch folder that a killed build has left."""


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
        if not path.is_file() or path.stat().st_size != descriptor.size:
            return None
        with contextlib.suppress(OSError):  # a folder that can only be read keeps its times
            os.utime(path)
        return path

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

    def prune(self, *, now: float, most_bytes: int = MOST_BYTES) -> int:
        """Let go of what has not been used for long, and of what is too much; the bytes that are free now.

        Builds that run meanwhile keep what they have looked at within the last hour.
        """
        freed = 0
        with contextlib.suppress(OSError):  # another build may prune as well
            kept = [Kept(path.name, path.stat().st_size, path.stat().st_mtime) for path in self._blobs.iterdir()]
            sizes = {blob.name: blob.size for blob in kept}
            for name in expendable(kept, now=now, most_bytes=most_bytes):
                (self._blobs / name).unlink()
                freed += sizes[name]
            for note in self._layers.glob("*.json"):
                named = Descriptor.read(parsed(note.read_bytes(), str(note)), str(note)).digest.removeprefix("sha256:")
                if not (self._blobs / named).exists():
                    note.unlink()
            for left in self._scratch.iterdir():
                if now - left.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
        return freed

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
