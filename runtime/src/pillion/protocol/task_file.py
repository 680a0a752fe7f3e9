"""Files as results: what their headers say, in a direct answer and in a job's."""

from __future__ import annotations

import re
from email.message import Message
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from pillion.authoring.file import OCTETS

if TYPE_CHECKING:
    from pillion.authoring.file import File

__all__ = ["disposition", "file_headers", "file_media_type", "filename_in"]

_MEDIA: Final = re.compile(r"[\w.+-]+/[\w.+-]+(?:;[\x20-\x7e]*)?", re.ASCII)
_LONGEST_NAME: Final = 200


def file_media_type(file: File) -> str:
    """Its media type, where that is one."""
    return file.media_type if _MEDIA.fullmatch(file.media_type) else OCTETS


def file_headers(file: File) -> dict[str, str]:
    """Its headers, besides the media type and the length."""
    return {"content-disposition": disposition(file.filename), "x-content-type-options": "nosniff"}


def disposition(filename: str | None) -> str:
    """``Content-Disposition`` (RFC 6266): a plain name for everybody, and the real one where that cannot say it."""
    name = re.sub(r"[\x00-\x1f\x7f]", "", re.split(r"[/\\]", filename or "")[-1])[:_LONGEST_NAME]
    if not name:
        return "attachment"
    if name.isascii():
        return 'attachment; filename="{}"'.format(name.replace('"', r"\""))
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', r"\"")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def filename_in(disposition: str) -> str | None:
    """The name that a ``Content-Disposition`` says, the real one where it says two; None where it says none."""
    real = re.search(r"filename\*=UTF-8''([^;\s]+)", disposition, re.IGNORECASE)
    if real is not None:
        return unquote(real[1])
    said = Message()
    said["content-disposition"] = disposition
    return said.get_filename()
