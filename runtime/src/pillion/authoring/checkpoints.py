"""Checkpoints in a folder: each is there as a whole or not at all, and is believed only if its digest says so.

A checkpoint is written beside its place, synchronised, and renamed; the digest of its files is in its manifest. The
last two are kept, so that one that a failing disk has spoiled still leaves the one before.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pillion.durable import sync_folder, sync_tree
from pillion.storage.digest import file_sha256, tree_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["KEPT", "Checkpoint", "Checkpoints", "digest_of"]

_MANIFEST: Final = "checkpoint.json"
_CONTENT: Final = "content"
KEPT: Final = 2
"""How many stay when a newer one is made."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a training can go on from."""

    number: int
    """From 1, in the order they were made."""
    path: Path
    """The folder with what was saved."""
    state: Mapping[str, Any]
    """What was given with it: ``run.checkpoint(model, epoch=3)`` has ``epoch``."""


class Checkpoints:
    """Those of one training. One process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def writing(self, state: Mapping[str, Any]) -> Iterator[tuple[int, Path]]:
        """A new one: its number, and the folder to write into. It counts when the block has ended well.

        Raises:
            TypeError: the state cannot be written as JSON.
            OSError: no room, or a disk that fails; nothing is left of it.
        """
        number = max((n for n, _ in self._there()), default=0) + 1
        partial = self._folder / f".{number}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        content = partial / _CONTENT
        content.mkdir(parents=True)
        try:
            text = json.dumps(dict(state))
            yield number, content
            manifest = {"number": number, "digest": digest_of(content), "state": json.loads(text)}
            (partial / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            sync_tree(partial)
            partial.rename(self._folder / str(number))
            sync_folder(self._folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        for old, path in self._there()[:-KEPT]:
            if old < number:
                shutil.rmtree(path, ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """The newest that is whole; those that are not are passed over."""
        for number, path in reversed(self._there()):
            with contextlib.suppress(OSError, ValueError, KeyError):
                manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
                if manifest["digest"] == digest_of(path / _CONTENT):
                    return Checkpoint(number, path / _CONTENT, manifest["state"])
        return None

    def _there(self) -> list[tuple[int, Path]]:
        if not self._folder.is_dir():
            return []
        return sorted((int(entry.name), entry) for entry in self._folder.iterdir() if entry.name.isdigit())


def digest_of(folder: Path) -> str:
    """The digest of the files below a folder, as :mod:`pillion.storage.digest` defines it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return tree_digest((str(file.relative_to(folder)), file.stat().st_size, file_sha256(file)) for file in files)
