"""A file as tasks take and give it: bytes with a name and a media type, in memory or on disk."""

from __future__ import annotations

import asyncio
import contextlib
import io
import mimetypes
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["OCTETS", "File"]

OCTETS: Final = "application/octet-stream"
_CHUNK: Final = 256 * 1024


class File:
    """A file.

    Annotate a parameter with it to be sent one, and return one to have it downloaded::

        @task
        def transcribe(self, audio: File) -> File:
            return File(make_subtitles(audio.path), filename="subtitles.srt")

    What clients upload is on disk where it is large, and is deleted with the object.

    Args:
        content: the bytes, the path of a file, or a binary stream, which is read to its end.
        filename: without folders; that of a path is its own.
        media_type: by default what the file's name suggests.
    """

    __slots__ = ("__weakref__", "_data", "_path", "filename", "media_type")

    def __init__(
        self,
        content: bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO,
        *,
        filename: str | None = None,
        media_type: str | None = None,
    ) -> None:
        self._data: bytes | None = None
        self._path: Path | None = None
        if isinstance(content, str | os.PathLike):
            self._path = Path(content)
            filename = self._path.name if filename is None else filename
        elif isinstance(content, bytes | bytearray | memoryview):
            self._data = bytes(content)
        else:
            self._data = content.read()
        self.filename = filename
        """As the sender named it, to be shown and never to be used as a path."""
        self.media_type = media_type or mimetypes.guess_type(filename or "")[0] or OCTETS

    @classmethod
    def spooled(cls, path: str, filename: str | None, media_type: str | None) -> File:
        """A file that is deleted with the object."""
        made = cls(path, filename=filename or "", media_type=media_type)
        made.filename = filename
        weakref.finalize(made, _delete, path)
        return made

    @property
    def size(self) -> int:
        """Bytes."""
        if self._data is not None:
            return len(self._data)
        return self._on_disk().stat().st_size

    @property
    def in_memory(self) -> bool:
        """Whether the bytes are in memory."""
        return self._data is not None

    @property
    def path(self) -> Path:
        """Where it lies on disk, for libraries that want a path; written now if it was in memory."""
        if self._path is None:
            descriptor, name = tempfile.mkstemp(prefix="pillion-", suffix=Path(self.filename or "").suffix[:16])
            weakref.finalize(self, _delete, name)
            with open(descriptor, "wb") as target:  # noqa: PTH123 - a descriptor
                target.write(self._data or b"")
            self._path = Path(name)
        return self._path

    def open(self) -> BinaryIO:
        """A stream of its bytes, to be closed."""
        return io.BytesIO(self._data) if self._data is not None else self._on_disk().open("rb")

    def read(self) -> bytes:
        """All of its bytes."""
        return self._data if self._data is not None else self._on_disk().read_bytes()

    def chunks(self, size: int = _CHUNK) -> Iterator[bytes]:
        """Its bytes, piece by piece."""
        with self.open() as stream:
            while piece := stream.read(size):
                yield piece

    async def aread(self) -> bytes:
        """The same for ``async`` code, whose event loop goes on meanwhile."""
        return self._data if self._data is not None else await asyncio.to_thread(self.read)

    async def achunks(self, size: int = _CHUNK) -> AsyncIterator[bytes]:
        """Its bytes, piece by piece, for ``async`` code."""
        with await asyncio.to_thread(self.open) as stream:
            while piece := await asyncio.to_thread(stream.read, size):
                yield piece

    def save(self, target: str | os.PathLike[str]) -> Path:
        """Write it to a path of yours."""
        with Path(target).open("wb") as stream, self.open() as source:
            shutil.copyfileobj(source, stream, _CHUNK)
        return Path(target)

    def _on_disk(self) -> Path:
        if self._path is None:
            raise ValueError("the file has neither bytes nor a path")
        return self._path

    def __repr__(self) -> str:
        return f"File({self.filename!r}, {self.media_type!r}, {self.size} bytes)"

    def __reduce__(self) -> tuple[Callable[..., File], tuple[bytes | str, str | None, str]]:
        # To and from worker processes, which see the same disk; the file stays with the object that owns it.
        content = self._data if self._data is not None else str(self._on_disk())
        return _again, (content, self.filename, self.media_type)


def _again(content: bytes | str, filename: str | None, media_type: str) -> File:
    made = File(content, filename=filename or "", media_type=media_type)
    made.filename = filename
    return made


def _delete(path: str) -> None:
    with contextlib.suppress(OSError):
        Path(path).unlink()
