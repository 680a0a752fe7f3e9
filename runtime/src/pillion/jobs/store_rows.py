"""What the stores in databases have in common: jobs as documents, and lists as conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.jobs.states import Job, JobState
from pillion.jobs.store import Page, StoreLimitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.jobs.store import JobFilter, Payload

__all__ = ["changed_by", "check_room", "conditions_of", "document_of", "job_of", "page_of", "purgeable"]

document_of: Final = msgspec.json.Encoder().encode
_JOB: Final = msgspec.json.Decoder(Job)


def job_of(row: Sequence[Any]) -> Job:
    """The job of a row that begins with its sequence and its document."""
    return msgspec.structs.replace(_JOB.decode(row[1]), sequence=row[0])


def changed_by(
    transition: Callable[[Job], Job],
    job: Job | None,
    result: Payload | None,
    save: Callable[[Job], None],
    keep: Callable[[Payload], None],
) -> Job | None:
    """Apply a transition in a transaction of the caller's, as :meth:`pillion.jobs.store.JobStore.change` says.

    Args:
        transition: to apply.
        job: as it is now, locked; None where there is none.
        result: what it gave.
        save: writes the job.
        keep: writes the result.
    """
    if job is None:
        return None
    changed = transition(job)
    if changed is job:
        return job
    # The result first: saving the job locks what counts all jobs, and a result may take long to be sent.
    if result is not None and changed.state is JobState.COMPLETED:
        keep(result)
    save(changed)
    return changed


def check_room(stored: int, more: int, most: int) -> None:
    """Whether an input of ``more`` bytes may be kept beside what is ``stored``.

    Raises:
        StoreLimitError: it may not.
    """
    if stored + more > most:
        raise StoreLimitError(
            f"inputs and results of jobs that are kept have {stored} bytes, this input {more}, and the limit is {most}"
            " (jobs.max_stored_bytes)",
            field="jobs.max_stored_bytes",
            remedy="raise it, or keep ended jobs for less long: jobs.keep_seconds, jobs.keep_jobs",
        )


def conditions_of(which: JobFilter, after: int | None, mark: str) -> tuple[str, list[Any]]:
    """A WHERE clause, or nothing, and its values.

    Args:
        which: jobs.
        after: the sequence that the one before had.
        mark: how the database writes a parameter.
    """
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in (
        ("kind =", None if which.kind is None else which.kind.value),
        ("model =", which.model or None),
        ("task =", which.task or None),
        ("submitted >=", which.since),
        ("submitted <", which.until),
        ("sequence <", after),
    ):
        if value is not None:
            conditions.append(f"{condition} {mark}")
            values.append(value)
    if which.states:
        conditions.append(f"state IN ({', '.join([mark] * len(which.states))})")
        values += [state.value for state in which.states]
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values


def page_of(rows: Sequence[Sequence[Any]], size: int) -> Page:
    """A page of rows, of which there is one more than asked for where another page follows."""
    jobs = tuple(job_of(row) for row in rows[:size])
    return Page(jobs, jobs[-1].sequence if len(rows) > size else None)


def purgeable(rows: Sequence[tuple[str, float]], ended: int, finished_before: float, keep: int) -> list[str]:
    """Of the oldest ended jobs (id and end, in that order) those to forget; ``ended`` is how many there are in all."""
    surplus = max(0, ended - keep)
    return [row[0] for place, row in enumerate(rows) if place < surplus or row[1] < finished_before]
