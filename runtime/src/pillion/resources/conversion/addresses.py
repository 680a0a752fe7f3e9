"""Addresses of fields as they are shown, and the paths that they stand for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.resources.conversion.edits import Rename
    from pillion.resources.rules import FieldPath

__all__ = ["address_of", "before_renames", "path_of"]

_PART: Final = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\[([^\]]+)\]")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def path_of(address: str) -> FieldPath:
    """Return the path of an address such as `spec.containers[0].name` or `metadata.annotations[a.b/c]`."""
    return tuple(int(match[2]) if match[2] is not None else match[1] or match[3] for match in _PART.finditer(address))


def address_of(path: FieldPath) -> str:
    """Return the address of a path; the inverse of `path_of`."""
    parts = (f".{part}" if isinstance(part, str) and _PLAIN.fullmatch(part) else f"[{part}]" for part in path)
    return "".join(parts).removeprefix(".")


def before_renames(path: FieldPath, renames: Sequence[Rename]) -> FieldPath:
    """Return where the field stood before entries were given other keys."""
    for rename in renames:
        now = (*rename.path[:-1], rename.key)
        if path[: len(now)] == now:
            return (*rename.path, *path[len(now) :])
    return path
