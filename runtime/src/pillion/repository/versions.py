"""The order of version names."""

from __future__ import annotations

import re

__all__ = ["newest_first", "version_key"]

_NUMBER = re.compile(r"(\d+)")


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key under which numbers inside a name count as numbers: 9 < 10, 1.9 < 1.10, v2 < v10."""
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in _NUMBER.split(version) if part)


def newest_first(versions: list[str]) -> list[str]:
    """Versions from the newest to the oldest; equal keys ("1" and "01") in a fixed order."""
    return sorted(versions, key=lambda version: (version_key(version), version), reverse=True)
