"""The life of a job, as pure functions: what it is now in, what it is next out.

::

    QUEUED -> RUNNING -> COMPLETED | ERRORED | CANCELED
       |         |
       |         +-> QUEUED      its runner is gone, or cannot take it now: it is tried again
       +-> CANCELED | ERRORED

The last three are for good: every function gives a job in one of them back as it is, so whoever comes second changes
nothing, and a job has exactly one end.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "TERMINAL",
    "Failure",
    "Job",
    "JobKind",
    "JobState",
    "cancel",
    "canceled",
    "completed",
    "errored",
    "held",
    "progressed",
    "requeued",
    "started",
]


@unique
class JobState(StrEnum):
    """Where a job is in its life. The names are those that clients of caikit know."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"
    ERRORED = "ERRORED"


TERMINAL: Final = frozenset({JobState.COMPLETED, JobState.CANCELED, JobState.ERRORED})


@unique
class JobKind(StrEnum):
    """What a job does."""

    PREDICTION = "prediction"
    TRAINING = "training"


class Failure(msgspec.Struct, frozen=True):
    """Why a job is ERRORED."""

    code: str
    """A value of :class:`~pillion.errors.ErrorCode`."""
    message: str
    """One line that a user can act on."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job, without its input and its result. Times are seconds since 1970."""

    id: str
    kind: JobKind
    model: str
    """Whom it asks; for a training the name of what it makes."""
    task: str
    """The task; for a training the name of its route."""
    submitted: float
    state: JobState = JobState.QUEUED
    reason: str = ""
    """Why it is where it is, where that needs a word."""
    started: float | None = None
    """When its last run began."""
    finished: float | None = None
    priority: int = 0
    """Higher runs first; equal ones in the order they came, or became due again."""
    not_before: float = 0.0
    """It is not tried again sooner."""
    attempts: int = 0
    """Runs begun that nobody ended on purpose, since it last got on."""
    claims: int = 0
    """Runs begun at all: the number of the run that it is in, which only that run may change it by."""
    progress: float | None = None
    """From 0 to 1, where the job tells."""
    cancel_requested: bool = False
    """It runs, and somebody wants it to stop."""
    failure: Failure | None = None
    request_id: str = ""
    """Of the request that submitted it, as in the logs."""
    idempotency_key: str = ""
    request_digest: str = ""
    """Of what it was given: the same key with something else is a mistake of the caller's."""
    details: dict[str, str] = {}
    """What its kind wants to know besides: where a training's model is, and of which version."""
    sequence: int = 0
    """Its place in the order of submission; given by the store."""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in TERMINAL


def started(job: Job, now: float) -> Job:
    """A runner has it."""
    if job.state is not JobState.QUEUED:
        return job
    return msgspec.structs.replace(
        job,
        state=JobState.RUNNING,
        started=now,
        attempts=job.attempts + 1,
        claims=job.claims + 1,
        reason="",
        not_before=0.0,
    )


def held(job: Job, claims: int, transition: Callable[[Job], Job]) -> Job:
    """The transition, where the run that asks for it still has the job; one that lost it changes nothing."""
    return transition(job) if job.claims == claims and job.state is JobState.RUNNING else job


def completed(job: Job, now: float, details: dict[str, str] | None = None, reason: str = "") -> Job:
    """It has done what it was asked for; ``reason`` says what went wrong afterwards.

    One that somebody wanted to stop is CANCELED all the same.
    """
    if job.state is not JobState.RUNNING:
        return job
    if job.cancel_requested:
        return canceled(job, now)
    return msgspec.structs.replace(
        job,
        state=JobState.COMPLETED,
        finished=now,
        progress=1.0,
        reason=reason,
        details={**job.details, **(details or {})},
    )


def errored(job: Job, now: float, failure: Failure) -> Job:
    """It cannot be done."""
    if job.ended:
        return job
    if job.cancel_requested:
        return canceled(job, now)
    return msgspec.structs.replace(job, state=JobState.ERRORED, finished=now, reason=failure.message, failure=failure)


def cancel(job: Job, now: float, reason: str = "canceled on request") -> Job:
    """Somebody wants it to stop: one that waits has ended, one that runs has been asked to."""
    if job.state is JobState.QUEUED:
        return msgspec.structs.replace(job, state=JobState.CANCELED, finished=now, reason=reason, cancel_requested=True)
    if job.state is JobState.RUNNING:
        return msgspec.structs.replace(job, cancel_requested=True, reason=reason)
    return job


def canceled(job: Job, now: float, reason: str = "") -> Job:
    """It has stopped because somebody wanted it to."""
    if job.ended:
        return job
    return msgspec.structs.replace(
        job,
        state=JobState.CANCELED,
        finished=now,
        reason=reason or job.reason or "canceled on request",
        cancel_requested=True,
    )


def requeued(job: Job, now: float, reason: str, *, counts: bool, not_before: float = 0.0) -> Job:
    """Its run ended without an end of the job: it waits again, unless somebody wanted it to stop.

    Args:
        job: that ran.
        now: seconds since 1970.
        reason: why it waits again.
        counts: whether the run counts as an attempt. One that the server itself broke off does not.
        not_before: when to try again, at the earliest.
    """
    if job.state is not JobState.RUNNING:
        return job
    if job.cancel_requested:
        return canceled(job, now)
    attempts = job.attempts if counts else max(0, job.attempts - 1)
    return msgspec.structs.replace(job, state=JobState.QUEUED, reason=reason, attempts=attempts, not_before=not_before)


def progressed(job: Job, fraction: float | None, *, got_on: bool = False) -> Job:
    """It has got so far.

    Args:
        job: that runs.
        fraction: from 0 to 1; None where it did not say.
        got_on: it has something that a next run begins with, so what failed before counts no more.
    """
    if job.state is not JobState.RUNNING:
        return job
    return msgspec.structs.replace(
        job,
        progress=job.progress if fraction is None else min(1.0, max(0.0, fraction)),
        attempts=1 if got_on else job.attempts,
    )
