"""What a repository knows of its versions, by the names that requests use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.errors import ErrorCode, PillionError
from pillion.model import ModelState
from pillion.repository.entry import status_of
from pillion.repository.versions import newest_first
from pillion.wording import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.model import ModelStatus
    from pillion.repository.aliases import Aliases
    from pillion.repository.entry import Entry, Key
    from pillion.repository.served import Served

__all__ = ["Catalogue"]

_LONGEST_COMPARED: Final = 64
"""Characters up to which an unknown name is compared with the known ones: what anybody sends must stay cheap."""


class Catalogue:
    """Looks versions up, and changes nothing.

    Args:
        entries: every version.
        aliases: other names of versions.
        clock: monotonic.
        wall_clock: of the day.
    """

    def __init__(
        self,
        entries: Mapping[Key, Entry],
        aliases: Aliases,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._entries = entries
        self._aliases = aliases
        self._clock = clock
        self._wall_clock = wall_clock

    def serving(self) -> dict[tuple[str, str | None], Served]:
        """See :meth:`ModelRepository.serving`."""
        table: dict[tuple[str, str | None], Served] = {}
        for (name, version), entry in self._entries.items():
            if entry.served is not None:
                table[name, version] = entry.served
        for name in {name for name, _ in table}:
            newest = newest_first([version for known, version in table if known == name and version is not None])
            table[name, None] = table[name, newest[0]]
        return self._aliases.added_to(table)

    def sleeping(self, name: str, version: str | None) -> Key | None:
        """A version that a request for that name and version would have to wake."""
        version = self._meant(name, version)
        keys = self.keys(name) if version is None else [(name, version)]
        for key in keys:
            entry = self._entries.get(key)
            if entry is None or entry.removed or entry.suspended:
                continue
            if entry.at_rest or (entry.retry_at is not None and self._clock() >= entry.retry_at):
                return key
        return None

    def statuses(self) -> list[ModelStatus]:
        """See :meth:`ModelRepository.statuses`."""
        names = sorted({name for name, _ in self._entries})
        return [self._status(key) for name in names for key in reversed(self.keys(name))]

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        """See :meth:`ModelRepository.status`."""
        keys = self.keys(name)
        if not keys:
            raise self.unknown(name)
        meant = self._meant(name, version)
        if meant is not None:
            if (name, meant) not in self._entries:
                raise self._aliases.unknown(name, version or "", [key[1] for key in reversed(keys)])
            return self._status((name, meant))
        ready = [key for key in keys if self._entries[key].state is ModelState.READY]
        return self._status((ready or keys)[0])

    def versions(self, name: str) -> tuple[str, ...]:
        """See :meth:`ModelRepository.versions`."""
        self.named(name)
        return tuple(
            version
            for _, version in reversed(self.keys(name))
            if self._entries[name, version].state is ModelState.READY
        )

    def named(self, name: str) -> dict[Key, Entry]:
        """Every version of a name.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; there is none.
        """
        found = {key: entry for key, entry in self._entries.items() if key[0] == name}
        if not found:
            raise self.unknown(name)
        return found

    def keys(self, name: str) -> list[Key]:
        """Keys of one model, newest version first."""
        return [(name, version) for version in newest_first([v for n, v in self._entries if n == name])]

    def unknown(self, name: str) -> PillionError:
        """What is said of a name that no version has."""
        known = sorted({model for model, _ in self._entries}) if len(name) <= _LONGEST_COMPARED else []
        text = f"Request for unknown model: {name!r} is not declared here{nearest(name, known)}"
        return PillionError(ErrorCode.UNKNOWN_MODEL, text)

    def _meant(self, name: str, version: str | None) -> str | None:
        """The version that is asked for; None for whichever answers."""
        return version if version is None or (name, version) in self._entries else self._aliases.meant(name, version)

    def _status(self, key: Key) -> ModelStatus:
        return status_of(key, self._entries[key], self._clock, self._wall_clock)
