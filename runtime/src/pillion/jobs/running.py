"""Jobs of one kind that run now: taken from the queue as there is room, and brought to their end."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from typing import TYPE_CHECKING, Final

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.recovery import after_loss
from pillion.jobs.runner import Control, Done, Failed, Lost, Postponed, Stopped
from pillion.jobs.states import Failure, completed, errored, held, progressed, requeued

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.jobs.engine import JobEngine
    from pillion.jobs.runner import JobRunner, Outcome
    from pillion.jobs.states import Job, JobKind

__all__ = ["RunningJobs"]

_log: Final = logging.getLogger(__name__)
_AGAIN: Final = 5.0
"""Seconds until a store that cannot be used is tried again."""
_OF_THE_STORE: Final = frozenset({ErrorCode.NOT_READY, ErrorCode.STORAGE_FULL, ErrorCode.DRAINING})
"""What says nothing of a job."""
_TOGETHER_SECONDS: Final = 0.02
"""For what a job says at one time: a checkpoint, and how far it is."""
_PROGRESS_SECONDS: Final = 1.0
"""Between two writes of a job's progress."""


class RunningJobs:
    """See the module's docstring. Event loop's thread only."""

    def __init__(self, engine: JobEngine, kind: JobKind, runner: JobRunner, most: int) -> None:
        self._engine = engine
        self._kind = kind
        self._runner = runner
        self._slots = asyncio.Semaphore(most)
        self._wake = asyncio.Event()
        self._controls: dict[str, Control] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduling: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    def cancel(self, identity: str) -> None:
        """A job that runs is wanted to stop; the store knows."""
        # One that has been taken from the queue and not begun yet is found in the store by its run.
        if (control := self._controls.get(identity)) is not None:
            control.stopping.set()

    async def schedule(self, may_run: asyncio.Event) -> None:
        """Begin jobs as there is room, until cancelled."""
        self._scheduling = asyncio.current_task()
        await may_run.wait()
        while True:
            await self._slots.acquire()
            job = await self._next()
            task = asyncio.create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _next(self) -> Job:
        while True:
            self._wake.clear()
            try:
                # Shielded: a job that the store has handed out must reach its runner, or go back.
                taking = asyncio.ensure_future(self._engine.claim(self._kind))
                job, due = await asyncio.shield(taking)
            except asyncio.CancelledError:
                await self._give_back(taking)
                raise
            except PillionError:
                job, due = None, self._engine.now() + _AGAIN
            if job is not None:
                return job
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - self._engine.now())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _give_back(self, taking: asyncio.Future[tuple[Job | None, float | None]]) -> None:
        job, _ = await taking
        if job is not None:
            back = functools.partial(_interrupted, now=self._engine.now())
            await self._engine.change(job.id, _of_run(job, back))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        if not task.cancelled() and task.exception() is not None:
            _log.critical("a job ended in a way that nobody thought of", exc_info=task.exception())

    async def _run(self, job: Job) -> None:
        control = Control(_Progress(self._engine, job).got_on, functools.partial(self._engine.changes.tell, job.id))
        self._controls[job.id] = control
        self._engine.changes.tell(job.id)
        self._engine.metrics.begun(job)
        began = time.monotonic()
        try:
            outcome = await self._outcome(job, control)
            await self._conclude(job, outcome, time.monotonic() - began)
        finally:
            self._controls.pop(job.id, None)

    async def _outcome(self, job: Job, control: Control) -> Outcome:
        try:
            request, unwanted = await self._engine.request_of(job)
        except PillionError as error:
            if error.code not in _OF_THE_STORE:
                return Failed(Failure(error.code.value, str(error)))
            return Postponed(str(error), _AGAIN)  # the store is away for a while: no fault of the job
        except OSError as error:
            said = f"what it was given cannot be read any more: {error.strerror}: {error.filename}"
            return Failed(Failure(ErrorCode.INTERNAL.value, said))
        try:
            if unwanted:
                control.stopping.set()
            return await self._runner.run(job, request, control)
        except PillionError as error:
            return Failed(Failure(error.code.value, str(error)))
        except Exception as error:  # noqa: BLE001 - a job that cannot be run is ERRORED, whatever was thrown
            _log.exception("job %s could not be run", job.id, extra={"request_id": job.request_id})
            return Failed(Failure(ErrorCode.INTERNAL.value, f"{type(error).__name__}; the server's log has more"))

    async def _conclude(self, job: Job, outcome: Outcome, seconds: float) -> None:
        """Have the outcome on disk. A full disk does not lose it as long as this process lives."""
        transition, content = self._meaning(outcome)
        transition = _of_run(job, transition)
        while True:
            try:
                changed = await self._engine.change(job.id, transition, content)
            except PillionError as error:
                if self._engine.stopping:
                    _log.error("job %s: its end could not be kept (%s): it runs again", job.id, error)
                    return
                _log.warning("job %s: its end cannot be kept yet: %s", job.id, error)
                await asyncio.sleep(_AGAIN)
                continue
            if changed is not None:
                self._engine.metrics.left(changed, seconds)
                known = {"job": job.id, "request_id": job.request_id, "model": job.model}
                _log.info("%s %s is %s", job.kind.value, job.id, changed.state.value, extra=known)
            self._wake.set()  # it may be one that waits again
            return

    def _meaning(
        self, outcome: Outcome
    ) -> tuple[Callable[[Job], Job], tuple[bytes | memoryview, str, dict[str, str]] | None]:
        now = self._engine.now()
        match outcome:
            case Done(content, media_type, headers, details, reason):
                done = functools.partial(completed, now=now, details=details, reason=reason)
                return done, (content, media_type, headers)
            case Failed(failure):
                return functools.partial(errored, now=now, failure=failure), None
            case Postponed(reason, seconds):
                return functools.partial(requeued, now=now, reason=reason, counts=False, not_before=now + seconds), None
            case Lost(how, got_on):
                most = self._engine.settings.max_attempts
                return functools.partial(after_loss, now=now, max_attempts=most, how=how, got_on=got_on), None
            case Stopped():
                return functools.partial(_interrupted, now=now), None

    async def stop(self, grace: float) -> None:
        """Begin nothing more; what runs may end within ``grace`` seconds, then it is told to stop."""
        if self._scheduling is not None:
            self._scheduling.cancel()
            await asyncio.gather(self._scheduling, return_exceptions=True)
        if self._tasks and grace > 0 and not self._runner.stops_at_once:
            await asyncio.wait(set(self._tasks), timeout=grace)
        for control in self._controls.values():
            control.stopping.set()
        if self._tasks:
            await asyncio.wait(set(self._tasks))


class _Progress:
    """How far a job is, on disk at most once a second."""

    def __init__(self, engine: JobEngine, job: Job) -> None:
        self._engine = engine
        self._job = job
        self._fraction: float | None = None
        self._got_on = False
        self._writing: asyncio.Task[None] | None = None

    def got_on(self, fraction: float | None, got_on: bool) -> None:  # noqa: FBT001 - see Control
        self._fraction = self._fraction if fraction is None else fraction
        self._got_on = self._got_on or got_on
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        await asyncio.sleep(_TOGETHER_SECONDS)
        while self._fraction is not None or self._got_on:
            fraction, got_on = self._fraction, self._got_on
            self._fraction, self._got_on = None, False
            try:
                further = functools.partial(progressed, fraction=fraction, got_on=got_on)
                await self._engine.change(self._job.id, _of_run(self._job, further))
            except PillionError as error:
                _log.warning("job %s: its progress could not be kept: %s", self._job.id, error)
            await asyncio.sleep(_PROGRESS_SECONDS)
        self._writing = None


def _of_run(job: Job, transition: Callable[[Job], Job]) -> Callable[[Job], Job]:
    """The transition for the run that was claimed, and for no other."""
    return functools.partial(held, claims=job.claims, transition=transition)


def _interrupted(job: Job, now: float) -> Job:
    """The server broke the run off: it is no attempt."""
    return requeued(job, now, "waits for the server to start again", counts=False)
