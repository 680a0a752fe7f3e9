"""Keeping models that requests load within the memory budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.errors import ErrorCode, PillionError
from pillion.repository.entry import last_used
from pillion.repository.residency import Resident, to_evict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pillion.repository.entry import Entry, Key

__all__ = ["Room"]


class Room:
    """The memory for models, as far as is known what they take.

    Args:
        entries: every version.
        budget: bytes; None where there is no bound.
        files_of: bytes of a version's files.
        put_to_sleep: unloads a version.
    """

    def __init__(
        self,
        entries: Mapping[Key, Entry],
        budget: int | None,
        files_of: Callable[[Entry], Awaitable[int]],
        put_to_sleep: Callable[[Key, Entry], None],
    ) -> None:
        self._entries = entries
        self._budget = budget
        self._files_of = files_of
        self._put_to_sleep = put_to_sleep

    async def make(self, entry: Entry) -> None:
        """Unload what was not used for longest, before a load, by what is known of its size.

        Raises:
            PillionError: ``NOT_READY``; what is in use leaves no room.
        """
        if self._budget is None:
            return
        entry.size = entry.size or await self._files_of(entry)
        going = to_evict(self._residents(entry), entry.size, self._budget)
        if going is None:
            raise PillionError(
                ErrorCode.NOT_READY,
                f"model {entry.desired.name!r} takes {entry.size} bytes, which do not fit beside the models that are in"
                f" use (models.memory_budget {self._budget})",
                remedy="try again later, or raise the budget",
                retry_after=1.0,
            )
        for key in going:
            self._put_to_sleep(key, self._entries[key])

    def trim(self, entry: Entry) -> None:
        """The same after it, where the model turned out to be larger; what is in use stays, and so does the model."""
        if self._budget is not None:
            for key in to_evict(self._residents(entry), entry.size, self._budget) or ():
                self._put_to_sleep(key, self._entries[key])

    def _residents(self, beside: Entry) -> list[Resident]:
        """What is in memory, or on its way there, besides one model."""
        return [
            Resident(key, entry.size, last_used(entry), entry.evictable)
            for key, entry in self._entries.items()
            if entry is not beside and (entry.served is not None or entry.waking is not None)
        ]
