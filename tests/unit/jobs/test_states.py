"""The state machine of jobs, and the rule by which they are taken up again."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from pillion.jobs.recovery import after_loss, after_restart
from pillion.jobs.states import (
    Failure,
    Job,
    JobKind,
    JobState,
    cancel,
    canceled,
    completed,
    errored,
    progressed,
    requeued,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURE = Failure("internal", "it broke")
STEPS: dict[str, Callable[[Job], Job]] = {
    "start": functools.partial(started, now=2.0),
    "complete": functools.partial(completed, now=3.0),
    "fail": functools.partial(errored, now=3.0, failure=FAILURE),
    "cancel": functools.partial(cancel, now=3.0),
    "stopped": functools.partial(canceled, now=3.0),
    "requeue": functools.partial(requeued, now=3.0, reason="again", counts=False),
    "progress": functools.partial(progressed, fraction=0.5),
    "restart": functools.partial(after_restart, now=3.0, max_attempts=3),
    "lose": functools.partial(after_loss, now=3.0, max_attempts=3, how="killed"),
}


def queued() -> Job:
    return Job(id="1", kind=JobKind.PREDICTION, model="m", task="t", submitted=1.0)


def running() -> Job:
    return started(queued(), 2.0)


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=30))
def test_whatever_happens_a_job_ends_once_and_stays_as_it_ended(steps: list[str]) -> None:
    job, end = queued(), None
    for name in steps:
        if name == "lose" and job.state is not JobState.RUNNING:
            continue  # only what runs can be lost
        job = STEPS[name](job)
        if end is not None:
            assert end == job
        if job.ended:
            end = job
            assert job.finished == 3.0
        else:
            assert job.finished is None


def test_a_job_that_runs_was_started_and_counts_its_attempt() -> None:
    assert (JobState.RUNNING, 2.0, 1) == (running().state, running().started, running().attempts)


def test_what_waits_is_canceled_at_once() -> None:
    assert JobState.CANCELED is cancel(queued(), 3.0).state


def test_what_runs_is_asked_to_stop_and_is_canceled_however_it_ends() -> None:
    asked = cancel(running(), 3.0)

    assert (JobState.RUNNING, True) == (asked.state, asked.cancel_requested)
    assert JobState.CANCELED is completed(asked, 4.0).state
    assert JobState.CANCELED is errored(asked, 4.0, FAILURE).state
    assert JobState.CANCELED is requeued(asked, 4.0, "again", counts=False).state
    assert JobState.CANCELED is after_restart(asked, 4.0, 3).state


def test_a_run_that_the_server_broke_off_is_no_attempt() -> None:
    assert 0 == requeued(running(), 3.0, "the server stops", counts=False).attempts


def test_a_job_that_is_lost_three_times_in_a_row_is_not_tried_again() -> None:
    job = running()
    for _ in range(2):
        job = after_loss(job, 3.0, 3, "the server ended while it ran")
        assert JobState.QUEUED is job.state
        job = started(job, 4.0)
    job = after_loss(job, 5.0, 3, "the server ended while it ran")

    assert (JobState.ERRORED, "the server ended while it ran (3 times in a row): it is not tried again") == (
        job.state,
        job.reason,
    )


def test_a_job_that_gets_on_between_losses_is_tried_again_for_ever() -> None:
    job = running()
    for _ in range(10):
        job = started(after_loss(job, 3.0, 3, "killed", got_on=True), 4.0)

    assert JobState.RUNNING is job.state


def test_progress_stays_between_nothing_and_all() -> None:
    assert (1.0, 0.0) == (progressed(running(), 7.0).progress, progressed(running(), -1.0).progress)
