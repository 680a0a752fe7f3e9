"""A layer of files: the same files give the same bytes, whenever and by whomever it is made.

Entries are sorted, owned by root and its group, readable by everyone, and dated the same, because a pod runs under any
user id and because a layer that did not change must not be pushed and pulled again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from pillion.image.documents import Layer
from pillion.oci.content import LAYER_GZIP, Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from typing_extensions import Buffer

__all__ = ["Entry", "file_entry", "text_entry", "write_layer"]

_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a symbolic link of a layer; folders follow from the paths."""

    path: str
    """Absolute in the image."""
    size: int = 0
    executable: bool = False
    open: Callable[[], IO[bytes]] | None = None
    """Gives the content; None for a link."""
    link: str = ""


def file_entry(path: str, file: Path) -> Entry:
    """A file of this machine."""
    stat = file.stat()
    return Entry(path, stat.st_size, bool(stat.st_mode & 0o100), lambda: file.open("rb"))


def text_entry(path: str, text: str) -> Entry:
    """A file with that text."""
    data = text.encode()
    return Entry(path, len(data), open=lambda: io.BytesIO(data))


class _Digesting(io.RawIOBase):
    """Passes on what is written, and knows the digest and the number of bytes."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.count = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        self._target.write(view)
        self._hash.update(view)
        self.count += view.nbytes
        return view.nbytes


def write_layer(entries: Iterable[Entry], target: Path, *, what: str, epoch: int) -> Layer:
    """Write the layer as a compressed tar; where two entries have one path, the later counts."""
    files = {entry.path: entry for entry in entries}
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"/", "."}
    with target.open("wb") as raw:
        compressed = _Digesting(raw)
        # No name and no date in the header: both would be of this moment and this machine.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=compressed, mtime=0) as packed:
            plain = _Digesting(packed)  # type: ignore[arg-type]  # GzipFile writes bytes, and is no IO in typeshed
            with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for path in sorted({*files, *folders}):
                    entry = files.get(path)
                    member = _member(path, entry, epoch)
                    if entry is None or entry.open is None:
                        archive.addfile(member)
                        continue
                    with entry.open() as content:
                        archive.addfile(member, content)
    return Layer(Descriptor(LAYER_GZIP, compressed.digest, compressed.count), plain.digest, what)


def _member(path: str, entry: Entry | None, epoch: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.mtime = epoch
    if entry is None:
        member.type, member.mode = tarfile.DIRTYPE, 0o755
    elif entry.link:
        member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, os.fspath(entry.link)
    else:
        member.size, member.mode = entry.size, 0o755 if entry.executable else 0o644
    return member
