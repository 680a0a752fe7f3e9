"""What is known of a registered version, and of a model beyond its versions. Values, and their files."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads annotations at run time
from pathlib import Path  # noqa: TC003 - as above
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FILES",
    "FailedLoad",
    "FileRecord",
    "Ledger",
    "ModelVersion",
    "Trained",
    "VersionRecord",
    "checked_metadata",
]

FILES: Final = "files"
"""The folder, inside a version's, that holds the artifact."""
_LARGEST_METADATA: Final = 256 * 1024


class Trained(msgspec.Struct, frozen=True):
    """Which training made a version, and so whose class loads it. No metadata, which whoever deploys writes."""

    training: str
    """The route, as its class has it."""
    job: str


class ModelVersion(msgspec.Struct, frozen=True):
    """One registered version of a model."""

    name: str
    version: str
    """A number as text: "1", "2", and so on. The number of a version that was deleted is not given again."""
    digest: str
    """``sha256:...`` as :mod:`pillion.storage.digest` defines it: of the file, or of the folder's listing."""
    path: Path
    """What a model is loaded from: the file, where one file was registered, else the folder."""
    created: dt.datetime
    metadata: Mapping[str, Any]
    size: int
    """Bytes, all files together."""
    trained: Trained | None = None
    """Where a training made it."""


class FailedLoad(msgspec.Struct, frozen=True):
    """Why a version that was to be deployed is not."""

    version: str
    reason: str
    time: dt.datetime


class FileRecord(msgspec.Struct, frozen=True):
    """One file of an artifact: relative path, size in bytes, hexadecimal SHA-256."""

    path: str
    size: int
    sha256: str


class VersionRecord(msgspec.Struct, frozen=True, rename="camel"):
    """``version.json``: written before the version is there, and never changed."""

    name: str
    version: str
    digest: str
    created: dt.datetime
    size: int
    single: bool
    """Whether one file was registered, rather than a folder."""
    files: tuple[FileRecord, ...]
    metadata: dict[str, Any] = {}
    trained: Trained | None = None

    def at(self, folder: Path) -> ModelVersion:
        """The version whose folder this is."""
        path = folder / FILES
        if self.single:
            path /= self.files[0].path
        return ModelVersion(
            self.name, self.version, self.digest, path, self.created, self.metadata, self.size, self.trained
        )


class Ledger(msgspec.Struct, frozen=True, rename="camel"):
    """``model.json``: what can change of a model."""

    last: int = 0
    """The highest number that was ever given."""
    aliases: dict[str, str] = {}
    deployed: str | None = None
    """The version that is to be served, also after a restart."""
    failure: FailedLoad | None = None
    """The last attempt to deploy another, where it failed."""


def checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata as JSON keeps it.

    Raises:
        PillionError: ``INVALID_ARGUMENT``; it has values that JSON has not, or is too large.
    """
    try:
        encoded = msgspec.json.encode(dict(metadata))
        decoded = msgspec.json.decode(encoded, type=dict[str, Any])
    except (TypeError, ValueError) as error:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"metadata: {error}",
            field="metadata",
            remedy="give names and values that JSON has",
        ) from None
    if len(encoded) > _LARGEST_METADATA:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"metadata: {len(encoded)} bytes, more than {_LARGEST_METADATA}",
            field="metadata",
            remedy="put what is large into a file of the model",
        )
    return decoded
