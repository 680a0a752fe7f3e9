"""Files as answers: the bytes as they are, the name by RFC 6266, large ones piece by piece from disk."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pillion.authoring.file import OCTETS
from pillion.transport.http.answer import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pillion.authoring.file import File
    from pillion.errors import PillionError

__all__ = ["disposition", "download"]

_AT_ONCE: Final = 1024 * 1024
"""Bytes of a file in memory that are sent as one."""
_PIECE: Final = 256 * 1024
_MEDIA: Final = re.compile(r"[\w.+-]+/[\w.+-]+(?:;[\x20-\x7e]*)?", re.ASCII)
_LONGEST_NAME: Final = 200


def download(file: File) -> Answer:
    """The answer to a task that gives a file."""
    media = file.media_type if _MEDIA.fullmatch(file.media_type) else OCTETS
    headers = ((b"content-disposition", disposition(file.filename)), (b"x-content-type-options", b"nosniff"))
    if file.in_memory and file.size <= _AT_ONCE:
        return Answer(file.read(), content_type=media.encode(), headers=headers)
    length = (b"content-length", b"%d" % file.size)
    return Answer(b"", content_type=media.encode(), headers=(*headers, length), events=_Pieces(file))


def disposition(filename: str | None) -> bytes:
    """``Content-Disposition`` (RFC 6266): a plain name for everybody, and the real one where that cannot say it."""
    name = re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[/\\]", filename or "")[-1])[:_LONGEST_NAME]
    if not name:
        return b"attachment"
    if name.isascii():
        return b'attachment; filename="%b"' % name.replace('"', r"\"").encode()
    plain = name.encode("ascii", "replace").replace(b"?", b"_").replace(b'"', rb"\"")
    return b"attachment; filename=\"%b\"; filename*=UTF-8''%b" % (plain, quote(name, safe="").encode())


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
