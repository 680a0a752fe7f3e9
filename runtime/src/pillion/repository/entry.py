"""One model version as the repository keeps it."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pillion.model import ModelState, ModelStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.repository.expected import Expected
    from pillion.repository.served import Served
    from pillion.runtimefile import DesiredModel

__all__ = ["Entry", "Key", "last_used", "pause_after", "status_of"]

Key = tuple[str, str]
_SHORTEST, _LONGEST = 5.0, 300.0
"""Seconds between loads that fail one after another, the first and the longest."""
_ranks = count()


class Entry(msgspec.Struct):
    """One model version: what is wanted, what serves, and what can be said of it."""

    desired: DesiredModel
    served: Served | None = None
    state: ModelState = ModelState.LOADING
    reason: str = ""
    cause: str = ""
    format: str = ""
    changed_at: float = 0.0
    files: tuple[str, ...] = ()
    """Of the user's code, to be watched."""
    refused: str = ""
    """Why what serves did not take the config that it was given last."""
    busy: bool = False
    """Whether that was because it had not ended with the one before."""
    configured: int = 0
    """Worker processes that took the config that it was given last; 0 where it is in none."""
    unhealthy: str = ""
    """Why what serves cannot work, by its own word."""
    suspended: bool = False
    """Unloaded by management: not wanted until loaded again or changed."""
    removed: bool = False
    managed: bool = False
    """Added by :meth:`ModelRepository.add`: what is declared has no say in it."""
    guarded: bool = False
    """Added by somebody whose it stays: requests have no say in it either."""
    lazy: bool = False
    """In memory only from its first request on, and not for ever."""
    asleep: bool = False
    """It is lazy, and not in memory."""
    waking: asyncio.Task[None] | None = None
    size: int = 0
    """Bytes of memory, as far as is known; 0 where nobody asks."""
    loaded_at: float = 0.0
    expected: Expected | None = None
    """What is known of its tasks while it is being loaded, or was when it was loaded last."""
    loaded: DesiredModel | None = None
    """What was wanted of what serves when it was loaded."""
    attempted: DesiredModel | None = None
    """What the last load tried, whatever came of it."""
    failures: int = 0
    """Loads in a row that failed, for one that requests load."""
    retry_at: float | None = None
    """When a request may have such a load tried again; None where none has failed."""
    lock: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    rank: int = msgspec.field(default_factory=_ranks.__next__)
    """Grows from entry to entry, in the order in which they were declared or added."""

    @property
    def loading(self) -> bool:
        """Whether a load is under way, or about to be."""
        return not (self.removed or self.suspended or self.asleep) and self.attempted != self.desired

    @property
    def takes_config(self) -> bool:
        """Whether nothing but its config is to be another one: that needs no load."""
        if self.served is None or self.loaded is None or self.attempted is None:  # the last: it is to be loaded anew
            return False
        return replace(self.loaded, config={}) == replace(self.desired, config={})

    @property
    def at_rest(self) -> bool:
        """Whether it waits for a request to be loaded, or is being loaded for one: no reason to be unready."""
        return self.asleep or self.waking is not None

    @property
    def evictable(self) -> bool:
        """Whether it can be unloaded to make room."""
        return self.lazy and self.served is not None and self.served.references == 0 and not self.removed


def pause_after(failures: int) -> float:
    """Seconds after which requests may have a load tried again that failed so many times in a row."""
    return min(_LONGEST, _SHORTEST * 2.0 ** min(failures - 1, 16))


def last_used(entry: Entry) -> float:
    """When it was used last, or loaded, on the repository's clock."""
    used = None if entry.served is None else entry.served.last_used
    return max(used or 0.0, entry.loaded_at)


def status_of(key: Key, entry: Entry, clock: Callable[[], float], wall_clock: Callable[[], float]) -> ModelStatus:
    """What can be said of it."""
    served = entry.served
    used = None
    if served is not None and served.last_used is not None:
        used = wall_clock() - (clock() - served.last_used)
    return ModelStatus(
        name=key[0],
        version=key[1],
        state=entry.state,
        reason=entry.reason,
        cause=entry.cause,
        metadata=served.metadata if served is not None else None,
        format=entry.format or entry.desired.format or "",
        uri=entry.desired.uri,
        digest=entry.desired.digest,
        changed_at=entry.changed_at,
        libraries=served.model.libraries if served is not None else None,
        acceleration=served.acceleration if served is not None else None,
        last_used=used,
        path=entry.desired.path,
        asleep=entry.at_rest,
    )
