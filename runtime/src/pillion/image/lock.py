"""The lock of a project's dependencies: ``requirements.lock``, or a ``requirements.txt`` that pins and hashes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pillion.oci.errors import ImageError

__all__ = ["Lock", "read_lock", "remedy"]

_PINNED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*(?:===?\s*\S+|@\s*\S+)")
_OWN: Final = "pillion"
_PASSED: Final = ("--index-url", "-i ", "--extra-index-url", "--find-links", "-f ", "--no-index", "--trusted-host")
_OUR_WAY: Final = ("--no-binary", "--only-binary", "--require-hashes", "--prefer-binary", "--pre")
"""Options of requirement files that say what is always so here: wheels only, every one by its hash."""


@dataclass(frozen=True, slots=True)
class Lock:
    """What is to be installed.

    Attributes:
        text: requirements as pip reads them, each pinned with its hashes; without Pillion itself, which the base has.
        names: the packages, normalized.
    """

    text: str
    names: tuple[str, ...]


def remedy(declared: str) -> str:
    """The command that makes a lock of the file with the requirements."""
    return f"uv pip compile --generate-hashes {declared} -o requirements.lock"


def read_lock(text: str, *, source: str) -> Lock:
    """Read a lock.

    Raises:
        ImageError: a requirement is not pinned, has no hash, or names a place that an image cannot have.
    """
    how = remedy(source if source.endswith((".txt", ".in")) else "pyproject.toml")
    kept: list[str] = []
    names: list[str] = []
    for number, line in _logical(text):
        where = f"{source}:{number}"
        if line.startswith("-"):
            if line.startswith(_PASSED):
                kept.append(line)
            elif not line.startswith(_OUR_WAY):
                raise ImageError(
                    f"{where}: {line.split()[0]} cannot stand in a lock: write it again: {how}", usage=True
                )
            continue
        requirement, *hashes = re.split(r"\s+--hash[=\s]", line)
        found = _PINNED.match(requirement)
        if found is None:
            raise ImageError(
                f"{where}: {requirement} is not pinned, so two builds could differ: make a lock: {how}", usage=True
            )
        name = re.sub(r"[-_.]+", "-", found[1]).lower()
        if name == _OWN:
            continue
        if not hashes:
            raise ImageError(f"{where}: {requirement} has no --hash: make a lock with hashes: {how}", usage=True)
        names.append(name)
        kept.append(" ".join([requirement.strip(), *(f"--hash={one.strip()}" for one in sorted(hashes))]))
    return Lock("".join(f"{line}\n" for line in kept) if names else "", tuple(names))


def _logical(text: str) -> list[tuple[int, str]]:
    """Lines with those that continue them, without comments, and the number of the first."""
    found: list[tuple[int, str]] = []
    begun, parts = 0, ""
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        begun = begun if parts else number
        parts = f"{parts} {line.removesuffix(chr(92)).strip()}".strip()
        if not line.endswith("\\"):
            if parts:
                found.append((begun, parts))
            parts = ""
    return found
