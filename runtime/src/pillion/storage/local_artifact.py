"""A file or a folder of this machine as an artifact: its files, and the digest that a manifest states."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from pillion.storage.digest import file_sha256, tree_digest
from pillion.storage.errors import Reason, StorageError
from pillion.storage.local import LocalSource
from pillion.storage.options import FetchOptions

__all__ = ["LocalArtifact", "LocalFile", "read_artifact"]


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file to upload: where it is, its relative path in the artifact, size in bytes, hexadecimal SHA-256."""

    source: Path
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LocalArtifact:
    """What is to be uploaded. `digest` is what `pillion.storage.digest` says of it."""

    files: tuple[LocalFile, ...]
    single: bool

    @property
    def digest(self) -> str:
        """The digest, as the field `digest` of a manifest states it."""
        if self.single:
            return f"sha256:{self.files[0].sha256}"
        return tree_digest((file.path, file.size, file.sha256) for file in self.files)

    @property
    def size(self) -> int:
        """Bytes, all files together."""
        return sum(file.size for file in self.files)


def read_artifact(path: Path) -> LocalArtifact:
    """Read and hash a file, or every file below a folder.

    Raises:
        StorageError: it cannot be read, or a folder has no files, or links that lead out of it.
    """
    source = LocalSource(path, link_root=None, max_files=FetchOptions().max_files)
    listing = asyncio.run(source.list(versions=False))
    if not listing.objects:
        raise StorageError(Reason.OBJECT_NOT_FOUND, f"{path} has no files in it", remedy="name the model's folder")
    try:
        files = tuple(
            LocalFile(Path(item.key), item.path, item.size or 0, file_sha256(Path(item.key)))
            for item in listing.objects
        )
    except OSError as error:
        raise StorageError(
            Reason.OBJECT_NOT_FOUND,
            f"{error.filename} cannot be read: {error.strerror}",
            remedy="check its permissions",
        ) from error
    return LocalArtifact(files, listing.single)
