"""Names inside archives and below prefixes: which are safe to create, and what links mean. Pure.

Nothing here looks at a file system. A name that passes has only ordinary parts, so joining it to a directory without
symbolic links in it can not leave that directory; links are resolved among the archive's own names and then become
files, so that the tree that is placed has regular files and directories only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pillion.storage.errors import Reason, StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["MARKER_NAME", "PARTIAL_NAME", "resolve_link", "safe_name"]

MARKER_NAME: Final = ".pillion-artifact.json"
"""The record of what was placed in a directory."""
PARTIAL_NAME: Final = ".partial"
"""The directory, inside the destination, that holds what is not complete yet."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_RESERVED: Final = frozenset({MARKER_NAME, PARTIAL_NAME})
_MAX_NAME_BYTES: Final = 1024
_MAX_PART_BYTES: Final = 255
_MAX_PARTS: Final = 64
_MAX_LINKS: Final = 32


def safe_name(name: str, *, reason: Reason = Reason.UNSAFE_ARCHIVE) -> str:
    """The name as a relative path with ``/`` between ordinary parts; ``.`` and empty parts are dropped.

    The root itself (``./``) gives the empty string.

    Raises:
        StorageError: with `reason`, where the name is absolute, has ``..``, a backslash, a drive, control characters,
            bytes that are not UTF-8, is too long or too deep, or is one of Pillion's own.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise _refused(name, "is not valid UTF-8", reason) from None
    if length > _MAX_NAME_BYTES:
        raise _refused(name, f"is longer than {_MAX_NAME_BYTES} bytes", reason)
    if _CONTROL.search(name):
        raise _refused(name, "has control characters", reason)
    if "\\" in name:
        raise _refused(name, "has a backslash", reason)
    if name.startswith("/") or _DRIVE.match(name):
        raise _refused(name, "is absolute", reason)
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise _refused(name, "has '..' in it", reason)
    if len(parts) > _MAX_PARTS:
        raise _refused(name, f"is more than {_MAX_PARTS} levels deep", reason)
    if any(len(part.encode()) > _MAX_PART_BYTES for part in parts):
        raise _refused(name, f"has a part longer than {_MAX_PART_BYTES} bytes", reason)
    if parts and parts[0].casefold() in _RESERVED:
        raise _refused(name, "is reserved for Pillion", reason)
    return "/".join(parts)


def resolve_link(name: str, links: Mapping[str, str], files: Collection[str]) -> str:
    """The file of the archive that the link `name` leads to, by way of other links where need be.

    Args:
        name: the link, a safe name.
        links: for every link, its target relative to the root of the archive, not yet checked.
        files: the safe names of all regular files.

    Raises:
        StorageError: `Reason.UNSAFE_ARCHIVE`, where it leaves the archive, leads nowhere, to a directory or in circles.
    """
    current = name
    for _ in range(_MAX_LINKS):
        current = _inside(name, links[current])
        if current in files:
            return current
        if current not in links:
            kind = "a directory" if any(file.startswith(f"{current}/") for file in files) or not current else "nothing"
            raise _refused(name, f"is a link to {kind} in the archive", Reason.UNSAFE_ARCHIVE)
    raise _refused(name, "is a link that leads in circles", Reason.UNSAFE_ARCHIVE)


def _inside(name: str, target: str) -> str:
    """The target with its ``..`` resolved by name alone; it may not climb above the root, not even on the way."""
    if target.startswith("/"):
        raise _refused(name, "is a link to an absolute path", Reason.UNSAFE_ARCHIVE)
    parts: list[str] = []
    for part in target.split("/"):
        if part == "..":
            if not parts:
                raise _refused(name, "is a link that leads out of the archive", Reason.UNSAFE_ARCHIVE)
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return safe_name("/".join(parts))


def _refused(name: str, why: str, reason: Reason) -> StorageError:
    shown = ascii(name if len(name) <= 120 else f"{name[:117]}...")
    where = "the archive" if reason is Reason.UNSAFE_ARCHIVE else "the source"
    return StorageError(
        reason,
        f"the name {shown} in {where} {why}",
        remedy=f"make {where} again with plain relative names below one directory",
    )
