"""The job engine: takes jobs, has them done, and keeps what came of them. One event loop; the store in a thread.

What is promised to a caller is on disk first: a job before its id is told, a result before its state is COMPLETED.
So the engine may be killed at any point. What was RUNNING then is taken up again by :mod:`pillion.jobs.recovery`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.asked import IdempotencyKey, Submitter, check_key, digest_of, unknown_job
from pillion.jobs.changes import Changes
from pillion.jobs.folders import FILES, JobFolders
from pillion.jobs.metrics import JobMetrics
from pillion.jobs.running import RunningJobs
from pillion.jobs.states import Job, JobKind, JobState, cancel
from pillion.jobs.store import JobStoreError
from pillion.jobs.store_access import StoreAccess
from pillion.jobs.upkeep import POLL_SECONDS, Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.jobs.runner import JobRunner
    from pillion.jobs.settings import JobSettings
    from pillion.jobs.store import JobFilter, JobStore, Page

__all__ = ["JobEngine", "JobResult"]

_log: Final = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_RETRY_WHEN_FULL: Final = 5.0
_BUSY_SECONDS: Final = 0.1
"""Until a job is tried again that is due and that another server is looking at."""


class JobResult(msgspec.Struct, frozen=True):
    """What a job gave, as the answer to a direct call would have been."""

    content: bytes
    media_type: str
    headers: dict[str, str]


class JobEngine:
    """Jobs of every kind.

    Args:
        settings: bounds and places.
        store: opens the store; called in a thread.
        runners: who does the jobs of each kind.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        settings: JobSettings,
        store: Callable[[], JobStore],
        runners: Mapping[JobKind, JobRunner],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._open_store = store
        self._store: JobStore | None = None
        self._opening = asyncio.Lock()
        self.access = StoreAccess("jobs.database" if settings.folder is None else "jobs.folder")
        self._clock = clock
        self._background: list[asyncio.Task[None]] = []
        self._closed = False
        self._may_run = asyncio.Event()
        self.changes = Changes()
        self.folders = JobFolders(settings.folder and settings.folder / FILES, settings.inline_bytes)
        limits = {JobKind.PREDICTION: settings.predictions, JobKind.TRAINING: settings.trainings}
        self._running = {kind: RunningJobs(self, kind, runner, limits[kind]) for kind, runner in runners.items()}
        self.totals: dict[tuple[JobKind, JobState], int] = {}
        self.stored = 0
        """Jobs by kind and state, and bytes of their inputs and results, as of a moment ago."""
        self.metrics = JobMetrics()

    @property
    def settings(self) -> JobSettings:
        """Bounds and places."""
        return self._settings

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock()

    # --- life

    async def open(self) -> JobStore:
        """Open the store, and take up what a former server left.

        Raises:
            PillionError: it cannot be used; its cause is the :class:`JobStoreError`.
        """
        async with self._opening:
            if self._store is not None:
                return self._store
            if self._closed:
                raise PillionError(ErrorCode.DRAINING, "the server is stopping")
            upkeep = Upkeep(self, list(self._running.values()))
            store = self._store = await self.access.ask(lambda: upkeep.opened(self._open_store))
            self._background = [asyncio.create_task(one.schedule(self._may_run)) for one in self._running.values()]
            self._background += [asyncio.create_task(work) for work in upkeep.works(store)]
            return store

    def begin(self) -> None:
        """Models are loaded: jobs may run from now on."""
        self._may_run.set()

    async def stop(self, grace: float) -> None:
        """Begin nothing more, let what runs end within ``grace`` seconds, and put the rest back into the queue."""
        self._closed = True
        await asyncio.gather(*(one.stop(grace) for one in self._running.values()))
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.changes.tell_all()
        async with self._opening:
            # Taken away first: who asks from now on is told that the server stops, not that a closed store fails.
            store, self._store = self._store, None
            if store is not None:
                await self.access.ask(store.close)
        self.access.close()

    @property
    def shared(self) -> bool:
        """Whether other servers change its jobs, too."""
        return self._store is not None and self._store.lease_seconds is not None

    @property
    def stopping(self) -> bool:
        """Whether the engine has been told to stop."""
        return self._closed

    # --- what transports ask

    async def submit(
        self,
        kind: JobKind,
        *,
        model: str,
        task: str,
        request: bytes | memoryview,
        media_type: str = "application/json",
        request_id: str = "",
        idempotency_key: str = "",
        caller: Submitter | None = None,
        priority: int = 0,
        details: dict[str, str] | None = None,
    ) -> Job:
        """Take a job; it is on disk when this returns.

        The same ``idempotency_key`` of the same ``caller`` again gives the job of the first time.

        Raises:
            PillionError: ``QUEUE_FULL``; ``INVALID_ARGUMENT`` for a key that was used for something else;
                ``NOT_READY`` where jobs cannot be kept; ``STORAGE_FULL`` where there is no room for it.
        """
        check_key(idempotency_key)
        digest = await asyncio.to_thread(digest_of, model, task, request)
        job = Job(
            id=secrets.token_hex(16),
            kind=kind,
            model=model,
            task=task,
            submitted=self._clock(),
            priority=priority,
            request_id=request_id,
            request_digest=digest,
            details=details or {},
        )
        key = IdempotencyKey(caller or Submitter(), idempotency_key)
        taken = await self.ask(lambda store: self._submit(store, job, key, request, media_type))
        if taken is None:
            raise PillionError(
                ErrorCode.QUEUE_FULL,
                f"{self._settings.max_queued} {kind.value} jobs are waiting, which is the limit (jobs.max_queued)",
                remedy="try again later",
                retry_after=_RETRY_WHEN_FULL,
            )
        if taken.id != job.id:
            if taken.request_digest != digest:
                raise PillionError(
                    ErrorCode.INVALID_ARGUMENT,
                    f"Idempotency-Key {idempotency_key!r} came with another request before",
                    field="Idempotency-Key",
                    remedy="a new request takes a new key",
                )
            return taken
        self._running[kind].wake()
        return taken

    def _submit(
        self, store: JobStore, job: Job, key: IdempotencyKey, request: bytes | memoryview, media_type: str
    ) -> Job | None:
        secret = store.caller_secret
        job = msgspec.structs.replace(job, idempotency_key=key.kept(secret))
        payload = self.folders.keep(job.id, "request", request, media_type)
        taken: Job | None = None
        try:
            taken = store.submit(
                job, payload, self._settings.max_queued, self._settings.max_stored_bytes, key.kept_before(secret)
            )
        finally:
            if payload.file and (taken is None or taken.id != job.id):
                self.folders.remove(job.id)
        self.count(store)
        return taken

    async def get(self, identity: str, kind: JobKind | None = None) -> Job:
        """A job as it is now, of that kind or of any.

        Raises:
            PillionError: ``NOT_FOUND``: there is none of that kind and id; it may have been purged.
        """
        job = await self.ask(lambda store: store.get(identity))
        if job is None or kind not in (None, job.kind):
            raise unknown_job(kind, identity)
        return job

    async def page(self, which: JobFilter, after: int | None, size: int) -> Page:
        """A page of the list, the newest first."""
        return await self.ask(lambda store: store.page(which, after, size))

    async def cancel(self, identity: str, kind: JobKind) -> Job:
        """Stop a job: one that waits has ended when this returns, one that runs ends soon; an ended one stays.

        Raises:
            PillionError: ``NOT_FOUND``.
        """
        await self.get(identity, kind)
        job = await self.change(identity, lambda known: cancel(known, self._clock()))
        if job is None:
            raise unknown_job(kind, identity)
        if job.state is JobState.RUNNING:
            self._running[kind].cancel(identity)
        return job

    async def result(self, identity: str, kind: JobKind) -> JobResult:
        """What it gave.

        Raises:
            PillionError: ``NOT_FOUND``; ``CONFLICT`` while it has not ended, and where it was canceled; its own error
                where it is ERRORED.
        """
        job = await self.get(identity, kind)
        if job.failure is not None:
            raise PillionError(ErrorCode(job.failure.code), job.failure.message)
        if job.state is not JobState.COMPLETED:
            why = f": {job.reason}" if job.reason else ""
            raise PillionError(
                ErrorCode.CONFLICT,
                f"{kind.value} {identity} has no result: it is {job.state.value}{why}",
                remedy="ask again when it is COMPLETED" if not job.ended else None,
            )
        return await self.ask(lambda store: self._result(store, identity, kind))

    def _result(self, store: JobStore, identity: str, kind: JobKind) -> JobResult:
        payload = store.result(identity)
        if payload is None:
            raise unknown_job(kind, identity)
        try:
            return JobResult(self.folders.read(identity, payload), payload.media_type, payload.headers)
        except FileNotFoundError:  # purged in the very moment
            raise unknown_job(kind, identity) from None

    # --- what runs jobs asks

    async def claim(self, kind: JobKind) -> tuple[Job | None, float | None]:
        """The next job to run; without one, when to ask again (None: when there is a new one)."""

        def take(store: JobStore) -> tuple[Job | None, float | None]:
            now = self._clock()
            job = store.claim(kind, now)
            if job is None:
                due = store.next_due(kind)
                if due is not None and due <= now:
                    due = now + _BUSY_SECONDS
                # Of what others submit to a shared store nobody is told.
                again = None if store.lease_seconds is None else now + POLL_SECONDS
                return None, min((moment for moment in (due, again) if moment is not None), default=None)
            self.count(store)
            return job, None

        return await self.ask(take)

    async def request_of(self, job: Job) -> tuple[bytes, bool]:
        """What a job was given, and whether somebody has wanted it to stop by now."""

        def read(store: JobStore) -> tuple[bytes, bool]:
            payload, known = store.request(job.id), store.get(job.id)
            content = b"" if payload is None else self.folders.read(job.id, payload)
            return content, known is None or known.cancel_requested

        return await self.ask(read)

    async def change(
        self,
        identity: str,
        transition: Callable[[Job], Job],
        content: tuple[bytes | memoryview, str, dict[str, str]] | None = None,
    ) -> Job | None:
        """Apply a transition, with the result where it is one to COMPLETED, and tell those who follow the job."""

        def write(store: JobStore) -> Job | None:
            payload = None
            if content is not None:
                payload = self.folders.keep(identity, "result", content[0], content[1], content[2])
            changed = store.change(identity, transition, payload)
            self.count(store)
            return changed

        changed = await self.ask(write)
        self.changes.tell(identity)
        return changed

    # --- what keeps the store asks

    async def ask(self, work: Callable[[JobStore], _Value]) -> _Value:
        """Have the store asked in its thread.

        Raises:
            PillionError: ``NOT_READY``: it cannot be used now; ``STORAGE_FULL``: it has no room.
        """
        return await self.access.ask(work, self._store or await self.open())

    def count(self, store: JobStore) -> None:
        """Look how many there are; what was done before stands, whether or not they can be counted."""
        try:
            self.recount(store)
        except JobStoreError as error:
            _log.warning("jobs could not be counted: %s", error)

    def recount(self, store: JobStore) -> None:
        """Look how many there are; in the store's thread.

        Raises:
            JobStoreError: the store cannot be used.
        """
        self.totals, self.stored = dict(store.counts()), store.stored_bytes()
