"""What a fetch yields: the artifact, and its record in the destination.

The record, ``.pillion-artifact.json``, is written last: a destination that has it has every file it names. It holds
no secrets (the URI is redacted) and is small JSON, for people and for the runtime.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pillion.storage.digest import file_sha256, tree_digest
from pillion.storage.names import MARKER_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Artifact", "ArtifactFile", "SourceVersion", "is_intact", "read_record"]

_FORMAT: Final = 1
Kind = Literal["file", "tree", "archive"]


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One regular file of an artifact: relative path, size in bytes, hexadecimal SHA-256, modification time."""

    path: str
    size: int
    sha256: str
    modified_ns: int = 0


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """One object as the source had it: its name there, its size in bytes, its ETag or other validator."""

    key: str
    size: int
    version: str | None


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact that is in place.

    Attributes:
        uri: where it came from, without secrets.
        uri_identity: `StorageUri.identity` of the source.
        root: the directory it is in.
        kind: one file, a directory's tree, or an unpacked archive.
        digest: what was verified, and can be pinned: of the file, the tree, or the archive as downloaded.
        tree_digest: of the files in place; the same as `digest` for a tree.
        size: bytes in place, all files together.
        files: every file, sorted by path.
        sources: what the source had.
        fetched_at: when it was put in place, RFC 3339 in UTC.
        reused: whether it was in place already, and nothing was downloaded.
    """

    uri: str
    uri_identity: str
    root: Path
    kind: Kind
    digest: str
    tree_digest: str
    size: int
    files: tuple[ArtifactFile, ...]
    sources: tuple[SourceVersion, ...]
    fetched_at: str
    reused: bool = False

    @property
    def model_path(self) -> Path:
        """What a model is loaded from: the file, where the artifact is a single one, else the directory."""
        return self.root / self.files[0].path if self.kind == "file" else self.root

    def to_json(self) -> str:
        """The record, as text."""
        record = {
            "format": _FORMAT,
            "uri": self.uri,
            "uriIdentity": self.uri_identity,
            "kind": self.kind,
            "digest": self.digest,
            "treeDigest": self.tree_digest,
            "size": self.size,
            "fetchedAt": self.fetched_at,
            "sources": [{"key": s.key, "size": s.size, "etag": s.version} for s in self.sources],
            "files": [
                {"path": f.path, "size": f.size, "sha256": f.sha256, "modifiedNs": f.modified_ns} for f in self.files
            ],
        }
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, root: Path) -> Artifact:
        """The artifact that a record in `root` describes.

        Raises:
            ValueError, KeyError, TypeError: the text is not a record of this version.
        """
        record: Mapping[str, object] = json.loads(text)
        if record["format"] != _FORMAT:
            raise ValueError("a record of another version")
        kind = record["kind"]
        if kind not in {"file", "tree", "archive"}:
            raise ValueError("an unknown kind of artifact")
        return cls(
            uri=str(record["uri"]),
            uri_identity=str(record["uriIdentity"]),
            root=root,
            kind=kind,
            digest=str(record["digest"]),
            tree_digest=str(record["treeDigest"]),
            size=int(str(record["size"])),
            files=tuple(
                ArtifactFile(str(f["path"]), int(f["size"]), str(f["sha256"]), int(f["modifiedNs"]))
                for f in record["files"]  # type: ignore[attr-defined]  # a record of another shape raises TypeError
            ),
            sources=tuple(
                SourceVersion(str(s["key"]), int(s["size"]), s["etag"])
                for s in record["sources"]  # type: ignore[attr-defined]  # as above
            ),
            fetched_at=str(record["fetchedAt"]),
        )


def read_record(root: Path, name: str = MARKER_NAME) -> Artifact | None:
    """The artifact recorded in `root`; None where there is no record, or none that can be read."""
    try:
        return Artifact.from_json((root / name).read_text(encoding="utf-8"), root)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_intact(artifact: Artifact, *, rehash: bool) -> bool:
    """Whether every file of the record is there unchanged, by size and time, or by content where `rehash`."""
    for file in artifact.files:
        path = artifact.root / file.path
        try:
            found = path.lstat()
            if found.st_size != file.size or path.is_symlink() or not path.is_file():
                return False
            if (rehash or found.st_mtime_ns != file.modified_ns) and file_sha256(path) != file.sha256:
                return False
        except OSError:
            return False
    return artifact.tree_digest == tree_digest((f.path, f.size, f.sha256) for f in artifact.files)
