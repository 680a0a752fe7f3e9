"""Other names for versions: those that people gave, and ``latest``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.repository.served import Served

__all__ = ["LATEST", "Aliases"]

LATEST: Final = "latest"
"""The version that answers requests which name none. A version of that very name comes before it."""

Table = dict[tuple[str, str | None], "Served"]


class Aliases:
    """By model: version by alias."""

    def __init__(self) -> None:
        self._by_model: dict[str, Mapping[str, str]] = {}

    def set(self, name: str, aliases: Mapping[str, str]) -> None:
        """Replace a model's aliases."""
        if aliases:
            self._by_model[name] = dict(aliases)
        else:
            self._by_model.pop(name, None)

    def meant(self, name: str, version: str) -> str | None:
        """The version that a name of no version stands for; itself where it is no alias, None for ``latest``."""
        given = self._by_model.get(name, {}).get(version)
        return given if given is not None else None if version == LATEST else version

    def added_to(self, table: Table) -> Table:
        """What answers each (name, version), with what answers each (name, alias)."""
        found = dict(table)
        for (name, version), served in table.items():
            if version is None:
                found.setdefault((name, LATEST), served)
        for name, aliases in self._by_model.items():
            for alias, version in aliases.items():
                # A version of that very name comes first, and an alias named latest is what its giver wants.
                if (name, version) in table and (name, alias) not in table:
                    found[name, alias] = table[name, version]
        return found

    def unknown(self, name: str, version: str, known: Sequence[str]) -> PillionError:
        """The error for a version that is not served."""
        there = f"(it has: {', '.join(known)})"
        means = self._by_model.get(name, {}).get(version)
        if means is not None:
            text = f"Request for unknown model: {version!r} of {name!r} means version {means!r}, which is not served"
            return PillionError(ErrorCode.UNKNOWN_MODEL, f"{text} {there}", remedy="deploy it, or move the alias")
        text = f"Request for unknown model: {name!r} has no version {version!r} {there}"
        return PillionError(ErrorCode.UNKNOWN_MODEL, text)
