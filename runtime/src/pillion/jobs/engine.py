"""The job engine: takes jobs, has them done, and keeps what came of them. One event loop; the store in a thread.

What is promised to a caller is on disk first: a job before its id is told, a result before its state is COMPLETED.
So the engine may be killed at any point. What was RUNNING then is taken up again by :mod:`pillion.jobs.recovery`.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.changes import Changes
from pillion.jobs.folders import JobFolders
from pillion.jobs.recovery import after_restart
from pillion.jobs.running import RunningJobs
from pillion.jobs.states import Job, JobKind, JobState, cancel
from pillion.jobs.store import JobStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.jobs.runner import JobRunner
    from pillion.jobs.settings import JobSettings
    from pillion.jobs.store import JobFilter, JobStore, Page

__all__ = ["JobEngine", "JobResult"]

_log: Final = logging.getLogger(__name__)
_Value = TypeVar("_Value")
_PURGE_SECONDS: Final = 60.0
_PURGED_AT_ONCE: Final = 500
_LONGEST_KEY: Final = 255
_RETRY_WHEN_FULL: Final = 5.0
_POLL_SECONDS: Final = 1.0
"""Between two looks at a store that others change as well."""


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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pillion-jobs")
        self._clock = clock
        self._background: list[asyncio.Task[None]] = []
        self._closed = False
        self._may_run = asyncio.Event()
        self.changes = Changes()
        folder = settings.folder
        self.folders = JobFolders(None if folder is None else folder / "files", settings.inline_bytes)
        self._runners = runners
        limits = {JobKind.PREDICTION: settings.predictions, JobKind.TRAINING: settings.trainings}
        self._running = {kind: RunningJobs(self, kind, runner, limits[kind]) for kind, runner in runners.items()}
        self.totals: dict[tuple[JobKind, JobState], int] = {}
        """Jobs by kind and state, as of a moment ago."""

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
            JobStoreError: it cannot be used.
        """
        async with self._opening:
            if self._store is not None:
                return self._store
            if self._closed:
                raise JobStoreError("the server is stopping")
            store = self._store = await self._in_thread(self._take_up)
            self._background = [asyncio.create_task(one.schedule(self._may_run)) for one in self._running.values()]
            self._background.append(asyncio.create_task(self._retain()))
            if store.lease_seconds is not None:
                self._background.append(asyncio.create_task(self._share(store.lease_seconds)))
            return store

    def begin(self) -> None:
        """Models are loaded: jobs may run from now on."""
        self._may_run.set()

    def _take_up(self) -> JobStore:
        store = self._open_store()
        try:
            self._take_up_lost(store)
            there = self.folders.there()
            for identity in set(there) - store.known(there):
                self.folders.remove(identity)  # of a job that was never promised, or was purged
            self.totals = dict(store.counts())
        except BaseException:
            store.close()
            raise
        return store

    def _take_up_lost(self, store: JobStore) -> list[Job]:
        now, most = self._clock(), self._settings.max_attempts
        taken = store.take_up(functools.partial(after_restart, now=now, max_attempts=most))
        if taken:
            _log.warning("%d jobs ran on a server that has ended; they are taken up", len(taken))
        return taken

    async def _share(self, lease: float) -> None:
        """What servers that share the store tell each other through it, every second or so."""
        every = min(_POLL_SECONDS, lease / 5)

        def look(store: JobStore) -> tuple[list[str], list[Job]]:
            unwanted = store.beat()
            taken = self._take_up_lost(store)
            self.totals = dict(store.counts())
            return unwanted, taken

        while True:
            await asyncio.sleep(every)
            try:
                unwanted, taken = await self._ask(look)
            except PillionError:
                continue  # said in the log
            for identity in unwanted:
                for running in self._running.values():
                    running.cancel(identity)
            for job in taken:
                self.changes.tell(job.id)

    async def stop(self, grace: float) -> None:
        """Begin nothing more, let what runs end within ``grace`` seconds, and put the rest back into the queue."""
        self._closed = True
        await asyncio.gather(*(one.stop(grace) for one in self._running.values()))
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.changes.tell_all()
        async with self._opening:
            if self._store is not None:
                await self._in_thread(self._store.close)
        self._thread.shutdown(wait=False)

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
        priority: int = 0,
        details: dict[str, str] | None = None,
    ) -> Job:
        """Take a job; it is on disk when this returns.

        Raises:
            PillionError: ``QUEUE_FULL``; ``INVALID_ARGUMENT`` for a key that was used for something else;
                ``NOT_READY`` where jobs cannot be kept.
        """
        _check_key(idempotency_key)
        digest = await self._in_thread(_digest, model, task, request)
        job = Job(
            id=secrets.token_hex(16),
            kind=kind,
            model=model,
            task=task,
            submitted=self._clock(),
            priority=priority,
            request_id=request_id,
            idempotency_key=idempotency_key,
            request_digest=digest,
            details=details or {},
        )
        taken = await self._ask(lambda store: self._submit(store, job, request, media_type))
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

    def _submit(self, store: JobStore, job: Job, request: bytes | memoryview, media_type: str) -> Job | None:
        payload = self.folders.keep(job.id, "request", request, media_type)
        taken: Job | None = None
        try:
            taken = store.submit(job, payload, self._settings.max_queued)
        finally:
            if payload.file and (taken is None or taken.id != job.id):
                self.folders.remove(job.id)
        self.totals = dict(store.counts())
        return taken

    async def get(self, identity: str, kind: JobKind | None = None) -> Job:
        """A job as it is now, of that kind or of any.

        Raises:
            PillionError: ``NOT_FOUND``: there is none of that kind and id; it may have been purged.
        """
        job = await self._ask(lambda store: store.get(identity))
        if job is None or kind not in (None, job.kind):
            raise _unknown(kind, identity)
        return job

    async def page(self, which: JobFilter, after: int | None, size: int) -> Page:
        """A page of the list, the newest first."""
        return await self._ask(lambda store: store.page(which, after, size))

    async def cancel(self, identity: str, kind: JobKind) -> Job:
        """Stop a job: one that waits has ended when this returns, one that runs ends soon; an ended one stays.

        Raises:
            PillionError: ``NOT_FOUND``.
        """
        await self.get(identity, kind)
        job = await self.change(identity, lambda known: cancel(known, self._clock()))
        if job is None:
            raise _unknown(kind, identity)
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
        return await self._ask(lambda store: self._result(store, identity, kind))

    def _result(self, store: JobStore, identity: str, kind: JobKind) -> JobResult:
        payload = store.result(identity)
        if payload is None:
            raise _unknown(kind, identity)
        try:
            return JobResult(self.folders.read(identity, payload), payload.media_type, payload.headers)
        except FileNotFoundError:  # purged in the very moment
            raise _unknown(kind, identity) from None

    # --- what runs jobs asks

    async def claim(self, kind: JobKind) -> tuple[Job | None, float | None]:
        """The next job to run; without one, when to ask again (None: when there is a new one)."""

        def take(store: JobStore) -> tuple[Job | None, float | None]:
            now = self._clock()
            job = store.claim(kind, now)
            if job is None:
                due = store.next_due(kind)
                # Of what others submit to a shared store nobody is told.
                again = None if store.lease_seconds is None else now + _POLL_SECONDS
                return None, min((moment for moment in (due, again) if moment is not None), default=None)
            self.totals = dict(store.counts())
            return job, None

        return await self._ask(take)

    async def request_of(self, job: Job) -> tuple[bytes, bool]:
        """What a job was given, and whether somebody has wanted it to stop by now."""

        def read(store: JobStore) -> tuple[bytes, bool]:
            payload, known = store.request(job.id), store.get(job.id)
            content = b"" if payload is None else self.folders.read(job.id, payload)
            return content, known is None or known.cancel_requested

        return await self._ask(read)

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
            self.totals = dict(store.counts())
            return changed

        changed = await self._ask(write)
        self.changes.tell(identity)
        return changed

    # --- inside

    async def _ask(self, work: Callable[[JobStore], _Value]) -> _Value:
        """Have the store asked in its thread.

        Raises:
            PillionError: ``NOT_READY``: it cannot be used now.
        """
        try:
            return await self._in_thread(work, self._store or await self.open())
        except JobStoreError as error:
            _log.error("jobs: %s", error)
            field = "jobs.database" if self._settings.folder is None else "jobs.folder"
            raise PillionError(ErrorCode.NOT_READY, f"jobs cannot be kept: {error}", field=field) from error

    async def _in_thread(self, work: Callable[..., _Value], *arguments: object) -> _Value:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _retain(self) -> None:
        """Forget ended jobs by age and count, now and then."""
        while True:
            try:
                while len(await self._ask(self._purge)) == _PURGED_AT_ONCE:
                    pass
            except PillionError as error:
                _log.warning("ended jobs could not be purged: %s", error)
            await asyncio.sleep(_PURGE_SECONDS)

    def _purge(self, store: JobStore) -> list[str]:
        settings = self._settings
        gone = store.purge(self._clock() - settings.keep_seconds, settings.keep_jobs, _PURGED_AT_ONCE)
        for identity in gone:
            self.folders.remove(identity)
        if gone:
            self.totals = dict(store.counts())
        return gone


def _digest(model: str, task: str, request: bytes | memoryview) -> str:
    digest = hashlib.sha256(b"\0".join((model.encode(), task.encode(), b"")))
    digest.update(request)
    return digest.hexdigest()


def _check_key(key: str) -> None:
    if len(key) > _LONGEST_KEY or not key.isprintable():
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"Idempotency-Key is longer than {_LONGEST_KEY} characters, or not printable",
            field="Idempotency-Key",
        )


def _unknown(kind: JobKind | None, identity: str) -> PillionError:
    what = "job" if kind is None else kind.value
    return PillionError(
        ErrorCode.NOT_FOUND,
        f"there is no {what} {identity[:100]!r}",
        field=f"{what}_id",
        remedy="it was never submitted here, or was purged after its end (jobs.keep_seconds, jobs.keep_jobs)",
    )
