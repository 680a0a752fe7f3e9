"""What becomes of jobs whose runner has gone, by one rule for every way it can go.

A prediction is computed again, a training goes on from its last checkpoint. A job that took its runner with it three
times (``jobs.max_attempts``) without getting on in between is ERRORED: it is likely the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.errors import ErrorCode
from pillion.jobs.states import Failure, JobState, canceled, errored, progressed, requeued

if TYPE_CHECKING:
    from pillion.jobs.states import Job

__all__ = ["after_loss", "after_restart"]


def after_restart(job: Job, now: float, max_attempts: int) -> Job:
    """A job as a server that starts has to take it up: nothing runs any more."""
    if job.state is not JobState.RUNNING:
        return job
    if job.cancel_requested:
        return canceled(job, now, "canceled on request; the server ended before the job had stopped")
    return after_loss(job, now, max_attempts, "the server ended while it ran")


def after_loss(job: Job, now: float, max_attempts: int, how: str, *, got_on: bool = False) -> Job:
    """A job whose run ended as ``how`` says, without a word of its own; ``got_on`` where that run got it on."""
    if got_on:
        job = progressed(job, None, got_on=True)
    if job.attempts < max_attempts:
        return requeued(job, now, f"tried again: {how}", counts=True)
    times = "once" if job.attempts == 1 else f"{job.attempts} times in a row"
    return errored(job, now, Failure(ErrorCode.INTERNAL.value, f"{how} ({times}): it is not tried again"))
