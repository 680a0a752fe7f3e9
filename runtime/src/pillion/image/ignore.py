"""Which files of a project are left out of its image. Pure: names in, verdicts out.

The patterns are those of ``.dockerignore``: relative to the project, ``*`` within a name, ``**`` over folders, ``!``
for what is to be kept all the same; the last that matches decides, and a folder that is left out takes its content
along.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Rules", "Verdict", "read_rules"]

_CLUTTER: Final = (
    ".git", ".hg", ".svn", "**/__pycache__", "**/*.pyc", ".venv", "venv", ".tox", ".nox", ".pytest_cache",
    ".mypy_cache", ".ruff_cache", ".ipynb_checkpoints", ".idea", ".vscode", "**/.DS_Store", "node_modules", "wheels",
    ".pillionignore", ".dockerignore", ".gitignore",
)  # fmt: skip
_SECRETS: Final = (
    "**/.env", "**/.env.*", "**/*.pem", "**/*.key", "**/*.p12", "**/*.pfx", "**/id_rsa*", "**/id_ed25519*",
    "**/.netrc", "**/.pypirc", "**/.npmrc", "**/.git-credentials", "**/.aws", "**/.ssh", "**/.docker", "**/.kube",
    "**/kubeconfig", "!**/.env.example", "!**/*.pub",
)  # fmt: skip


@unique
class Verdict(Enum):
    """What becomes of a file."""

    COPIED = "copied"
    IGNORED = "ignored"
    SECRET = "secret"  # noqa: S105 - a verdict, no secret
    """Left out because of its name, which files with secrets have."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    keep: bool
    regex: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """Patterns of the user's, over those that are always there."""

    own: tuple[_Pattern, ...]

    def verdict(self, path: str) -> Verdict:
        """Judge a path relative to the project, with ``/``."""
        said = _last(self.own, path)
        if said is not None:
            return Verdict.COPIED if said else Verdict.IGNORED
        if _last(_SECRET_PATTERNS, path) is False:
            return Verdict.SECRET
        return Verdict.IGNORED if _last(_CLUTTER_PATTERNS, path) is False else Verdict.COPIED

    @property
    def excepts(self) -> bool:
        """Whether something below a folder that is left out may be kept."""
        return any(pattern.keep for pattern in self.own)


def read_rules(text: str) -> Rules:
    """The rules in the text of a ``.dockerignore`` or ``.pillionignore``."""
    lines = (line.strip() for line in text.splitlines())
    return Rules(_patterns([line for line in lines if line and not line.startswith("#")]))


def _patterns(lines: Sequence[str]) -> tuple[_Pattern, ...]:
    return tuple(_Pattern(line.startswith("!"), _compiled(line.removeprefix("!").strip())) for line in lines)


def _compiled(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    rest = pattern.removeprefix("./").strip("/")
    while rest:
        if rest.startswith("**/"):
            parts.append("(?:.*/)?")
            rest = rest[3:]
        elif rest.startswith("**"):
            parts.append(".*")
            rest = rest[2:]
        elif rest[0] == "*":
            parts.append("[^/]*")
            rest = rest[1:]
        elif rest[0] == "?":
            parts.append("[^/]")
            rest = rest[1:]
        else:
            parts.append(re.escape(rest[0]))
            rest = rest[1:]
    return re.compile("".join(parts))


def _last(patterns: Sequence[_Pattern], path: str) -> bool | None:
    """Whether the last pattern that matches the path or a folder above it keeps it; None where none matches."""
    names = [path, *(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")]
    said: bool | None = None
    for pattern in patterns:
        if any(pattern.regex.fullmatch(name) for name in names):
            said = pattern.keep
    return said


_CLUTTER_PATTERNS: Final = _patterns(_CLUTTER)
_SECRET_PATTERNS: Final = _patterns(_SECRETS)
