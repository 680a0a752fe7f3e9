"""Who keeps trainings: the engine of this server, or the cluster, whose objects every replica reads alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from pillion.jobs.following import following
from pillion.jobs.log import read_whole
from pillion.jobs.states import JobKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from pillion.jobs.asked import Submitter
    from pillion.jobs.engine import JobEngine
    from pillion.jobs.following import Beat, Became, Wrote
    from pillion.jobs.states import Job
    from pillion.jobs.store import JobFilter, Page
    from pillion.jobs.training import TrainingDesk

__all__ = ["LocalTrainings", "TrainingKeeper"]

_KIND = JobKind.TRAINING


class TrainingKeeper(Protocol):
    """Takes trainings, and answers for them. Every method raises ``PillionError``, ``NOT_FOUND`` for an unknown id."""

    async def submit(
        self,
        name: str,
        body: bytes | memoryview,
        *,
        request_id: str,
        idempotency_key: str,
        caller: Submitter | None = None,
        priority: int = 0,
    ) -> Job:
        """Take one: everything that can be wrong with the request is said before it is kept."""
        ...

    async def get(self, identity: str) -> Job:
        """A training as it is now."""
        ...

    async def page(self, which: JobFilter, after: int | None, size: int) -> Page:
        """A page of the list, the newest first."""
        ...

    async def cancel(self, identity: str) -> Job:
        """Stop a training; an ended one stays as it is."""
        ...

    async def written(self, identity: str, name: str, place: int) -> bytes:
        """What it has printed, or lines of the numbers that it logged, behind a place."""
        ...

    def following(self, identity: str, name: str, place: int, beat: float) -> AsyncGenerator[Wrote | Became | Beat]:
        """See :func:`pillion.jobs.following.following`."""
        ...


class LocalTrainings:
    """Trainings that processes of this server run.

    Args:
        engine: has them done.
        desk: takes them; made when the first one comes.
    """

    def __init__(self, engine: JobEngine, desk: Callable[[], TrainingDesk]) -> None:
        self._engine = engine
        self._desk = desk

    async def submit(
        self,
        name: str,
        body: bytes | memoryview,
        *,
        request_id: str,
        idempotency_key: str,
        caller: Submitter | None = None,
        priority: int = 0,
    ) -> Job:
        """See :class:`TrainingKeeper`."""
        return await self._desk().submit(
            name, body, request_id=request_id, idempotency_key=idempotency_key, caller=caller, priority=priority
        )

    async def get(self, identity: str) -> Job:
        """See :class:`TrainingKeeper`."""
        return await self._engine.get(identity, _KIND)

    async def page(self, which: JobFilter, after: int | None, size: int) -> Page:
        """See :class:`TrainingKeeper`."""
        return await self._engine.page(which, after, size)

    async def cancel(self, identity: str) -> Job:
        """See :class:`TrainingKeeper`."""
        return await self._engine.cancel(identity, _KIND)

    async def written(self, identity: str, name: str, place: int) -> bytes:
        """See :class:`TrainingKeeper`."""
        await self._engine.get(identity, _KIND)
        return await asyncio.to_thread(read_whole, self._engine.folders.of(identity), name, place)

    def following(self, identity: str, name: str, place: int, beat: float) -> AsyncGenerator[Wrote | Became | Beat]:
        """See :class:`TrainingKeeper`."""
        return following(self._engine, identity, _KIND, name, place, beat)
