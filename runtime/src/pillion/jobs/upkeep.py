"""What is done to a job store all the while: lost jobs are taken up, ended ones forgotten, and a shared store is told
that this server lives.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any, Final

from pillion.errors import PillionError
from pillion.jobs.recovery import after_restart

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pillion.jobs.engine import JobEngine
    from pillion.jobs.running import RunningJobs
    from pillion.jobs.states import Job
    from pillion.jobs.store import JobStore

__all__ = ["POLL_SECONDS", "Upkeep"]

_log: Final = logging.getLogger(__name__)
_PURGE_SECONDS: Final = 60.0
_PURGED_AT_ONCE: Final = 500
POLL_SECONDS: Final = 1.0
"""Between two looks at a store that others change as well."""


class Upkeep:
    """Of the store of one engine.

    Args:
        engine: whose it is.
        running: what runs here, which others may want to stop.
    """

    def __init__(self, engine: JobEngine, running: Sequence[RunningJobs]) -> None:
        self._engine = engine
        self._running = running

    def opened(self, open_store: Callable[[], JobStore]) -> JobStore:
        """Open the store, and take up what a former server left; in the store's thread.

        Raises:
            JobStoreError: it cannot be used.
        """
        store = open_store()
        try:
            self._lost(store)
            there = self._engine.folders.there()
            for identity in set(there) - store.known(there):
                self._engine.folders.remove(identity)  # of a job that was never promised, or was purged
            self._engine.count(store)
        except BaseException:
            store.close()
            raise
        return store

    def works(self, store: JobStore) -> list[Coroutine[Any, Any, None]]:
        """What goes on until the engine stops."""
        if store.lease_seconds is None:
            return [self._retain()]
        every = min(POLL_SECONDS, store.lease_seconds / 5)
        return [self._retain(), self._live(store, every), self._look(every)]

    def _lost(self, store: JobStore) -> list[Job]:
        now, most = self._engine.now(), self._engine.settings.max_attempts
        taken = store.take_up(functools.partial(after_restart, now=now, max_attempts=most))
        if taken:
            _log.warning("%d jobs ran on a server that has ended; they are taken up", len(taken))
        return taken

    async def _live(self, store: JobStore, every: float) -> None:
        """Say to servers that share the store that this one lives, and hear what is to be stopped here."""
        while True:
            await asyncio.sleep(every)
            try:
                unwanted = await self._engine.access.ask(store.beat, beside=True)
            except PillionError:
                continue  # said in the log
            for identity in unwanted:
                for running in self._running:
                    running.cancel(identity)

    async def _look(self, every: float) -> None:
        """Take up what others have lost, every second or so."""

        def look(store: JobStore) -> list[Job]:
            # Counted first, and aloud: a server that may not judge others takes nothing up without a word to the
            # store, and must not say of a store that is away that it can be used.
            self._engine.recount(store)
            taken = self._lost(store)
            if taken:
                self._engine.count(store)
            return taken

        while True:
            await asyncio.sleep(every)
            try:
                taken = await self._engine.ask(look)
            except PillionError:
                continue  # said in the log
            for job in taken:
                self._engine.changes.tell(job.id)

    async def _retain(self) -> None:
        """Forget ended jobs by age and count, now and then."""
        while True:
            try:
                while len(await self._engine.ask(self._purge)) == _PURGED_AT_ONCE:
                    pass
            except PillionError as error:
                _log.warning("ended jobs could not be purged: %s", error)
            await asyncio.sleep(_PURGE_SECONDS)

    def _purge(self, store: JobStore) -> list[str]:
        settings = self._engine.settings
        gone = store.purge(self._engine.now() - settings.keep_seconds, settings.keep_jobs, _PURGED_AT_ONCE)
        for identity in gone:
            self._engine.folders.remove(identity)
        if gone:
            self._engine.count(store)
        return gone
