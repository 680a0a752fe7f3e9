"""What every source of artifacts can do: list, and stream an object from an offset.

Six sources: `pillion.storage.local` (files), `pillion.storage.web` (http and https), `pillion.storage.hub` (hf),
`pillion.storage.oci` (oci), `pillion.storage.mlflow` (models, runs), which hands on to another one where the files lie
there, and `pillion.storage.objectstore` (s3, gs, az). They know nothing of retries, digests or where bytes go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from pillion.storage.artifact import ArtifactFile
    from pillion.storage.options import FetchOptions

__all__ = ["Assemble", "Body", "Listing", "Source", "SourceChanged", "SourceObject"]


class Assemble(Protocol):
    """Makes the files of an artifact in `tree` out of the objects in `data`; ends early once `stop` is set."""

    def __call__(
        self, data: Path, tree: Path, options: FetchOptions, stop: threading.Event
    ) -> tuple[ArtifactFile, ...]:
        """The files, sorted by path."""
        ...


class SourceChanged(Exception):  # noqa: N818  (a condition to act on, never an error that a user sees)
    """The object is not the one that a download began with; what is here already is of no use."""


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One object to fetch.

    Attributes:
        key: how the source names it.
        path: the safe relative path that it gets in the destination.
        size: in bytes; None where only the answer to a request will tell.
        version: ETag or other validator; None where not known yet.
        sha256: what the source says that the bytes come to, in hexadecimal; None where it says nothing.
    """

    key: str
    path: str
    size: int | None
    version: str | None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a URI names: one object, or all objects of a tree.

    Attributes:
        digest: by what the source itself addresses the whole, ``sha256:<hex>``, where it does; each object has the
            `SourceObject.sha256` that follows from it.
        assemble: makes the files out of the objects, where those are no files yet.
    """

    objects: tuple[SourceObject, ...]
    single: bool
    digest: str | None = None
    assemble: Assemble | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of an object from an offset on.

    Attributes:
        offset: of the first byte that comes; 0 where the source ignored the offset asked for.
        total: size of the whole object in bytes, None where the source does not say.
        version: validator that a later request can be guarded with, None where there is none.
        chunks: the bytes; they may end early or run on, so the reader counts.
    """

    offset: int
    total: int | None
    version: str | None
    chunks: AsyncIterator[bytes]


class Source(Protocol):
    """A place artifacts come from, opened for one URI."""

    async def list(self, *, versions: bool) -> Listing:
        """What the URI names; with `versions` also where that costs one more request.

        Raises:
            StorageError: nothing there, no access, or the transfer failed.
        """
        ...

    def open(self, item: SourceObject, offset: int, version: str | None) -> AbstractAsyncContextManager[Body]:
        """Stream an object from `offset`, on condition that it still has `version`.

        Raises:
            SourceChanged: it has another version, or is shorter than `offset`.
            StorageError: as in `list`.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
