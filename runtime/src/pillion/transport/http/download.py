"""Files as answers: the bytes as they are, the name by RFC 6266, large ones piece by piece from disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pillion.protocol.task_file import file_headers, file_media_type
from pillion.transport.http.answer import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pillion.authoring.file import File
    from pillion.errors import PillionError

__all__ = ["download"]

_AT_ONCE: Final = 1024 * 1024
"""Bytes of a file in memory that are sent as one."""
_PIECE: Final = 256 * 1024


def download(file: File) -> Answer:
    """The answer to a task that gives a file."""
    media = file_media_type(file)
    headers = tuple((name.encode(), value.encode()) for name, value in file_headers(file).items())
    if file.in_memory and file.size <= _AT_ONCE:
        return Answer(file.read(), content_type=media.encode(), headers=headers)
    length = (b"content-length", b"%d" % file.size)
    return Answer(b"", content_type=media.encode(), headers=(*headers, length), events=_Pieces(file))


class _Pieces:
    """See :class:`~pillion.transport.http.events.Events`."""

    def __init__(self, file: File) -> None:
        self._file = file

    async def chunks(self) -> AsyncGenerator[bytes]:
        with await asyncio.to_thread(self._file.open) as stream:
            while piece := await asyncio.to_thread(stream.read, _PIECE):
                yield piece

    def failed(self, error: PillionError) -> bytes:
        """Nothing that could be taken for the file's bytes: the length that was told makes the cut known."""
        del error
        return b""

    def close(self) -> None:
        """The file goes with the last reference to it."""
