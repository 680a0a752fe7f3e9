"""How jobs look in JSON, and what the queries of their routes say."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.states import JobKind, JobState
from pillion.jobs.store import JobFilter

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pillion.jobs.states import Job
    from pillion.jobs.store import Page

__all__ = [
    "LIST_FIELDS",
    "MOST_ON_A_PAGE",
    "filter_of",
    "follows",
    "identity_of",
    "job_document",
    "page_document",
    "page_of",
    "place_of",
    "priority_of",
    "query_of",
]

MOST_ON_A_PAGE: Final = 1000
_USUAL_PAGE: Final = 100
LIST_FIELDS: Final = frozenset({"state", "model_id", "task", "since", "until", "limit", "after"})
"""What the query of a list may say."""


def query_of(raw: bytes, known: Collection[str]) -> dict[str, list[str]]:
    """The fields of a query.

    Raises:
        PillionError: one that means nothing here, or is empty.
    """
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=100):
        if name not in known:
            listed = ", ".join(sorted(known))
            raise _wrong(name, f"there is no such query field; there are: {listed}")
        if not value:
            raise _wrong(name, "is empty: give it a value, or leave it out")
        fields.setdefault(name, []).append(value)
    return fields


def identity_of(query: Mapping[str, list[str]], field: str) -> str:
    """The id that a query names.

    Raises:
        PillionError: it names none, or several.
    """
    given = query.get(field, [])
    if len(given) != 1:
        raise _wrong(field, "name one in the query" if not given else "name exactly one")
    return given[0]


def filter_of(query: Mapping[str, list[str]], kind: JobKind | None) -> JobFilter:
    """Which jobs a query asks for.

    Raises:
        PillionError: with the field that cannot be read.
    """
    return JobFilter(
        kind=kind,
        states=tuple(_state(text) for given in query.get("state", []) for text in given.split(",")),
        model=_single(query, "model_id"),
        task=_single(query, "task"),
        since=_moment(query, "since"),
        until=_moment(query, "until"),
    )


def page_of(query: Mapping[str, list[str]]) -> tuple[int | None, int]:
    """What a page comes after, and how many jobs it holds at most.

    Raises:
        PillionError: with the field that cannot be read.
    """
    after = _number(query, "after", 1, 2**62, None)
    return after, _number(query, "limit", 1, MOST_ON_A_PAGE, _USUAL_PAGE) or _USUAL_PAGE


def job_document(job: Job) -> dict[str, Any]:
    """One job. The names are those that clients of caikit read, and ours beside them."""
    training = job.kind is JobKind.TRAINING
    named = (
        {"training_id": job.id, "model_name": job.model}
        if training
        else {"prediction_id": job.id, "model_id": job.model}
    )
    return {
        **named,
        "kind": job.kind.value,
        "task": job.task,
        "state": job.state.value,
        "submission_timestamp": _time(job.submitted),
        "start_timestamp": _time(job.started),
        "completion_timestamp": _time(job.finished),
        "reasons": [job.reason] if job.reason else [],
        "progress": job.progress,
        "attempts": job.attempts,
        "priority": job.priority,
        "cancel_requested": job.cancel_requested,
        **({"details": job.details} if job.details else {}),
    }


def page_document(page: Page, name: str) -> dict[str, Any]:
    """A page of a list; ``next`` is what to give as ``after`` for the one that follows, null on the last."""
    following = None if page.following is None else str(page.following)
    return {name: [job_document(job) for job in page.jobs], "next": following}


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _single(query: Mapping[str, list[str]], field: str) -> str:
    given = query.get(field, [])
    if len(given) > 1:
        raise _wrong(field, "is there more than once")
    return given[0] if given else ""


def _state(text: str) -> JobState:
    try:
        return JobState(text.upper())
    except ValueError:
        raise _wrong("state", f"there is no state {text[:50]!r}; there are: {', '.join(JobState)}") from None


def _moment(query: Mapping[str, list[str]], field: str) -> float | None:
    text = _single(query, field)
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(field, "write a time in ISO 8601: 2026-01-31T12:00:00Z") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)).timestamp()


def _number(query: Mapping[str, list[str]], field: str, least: int, most: int, default: int | None) -> int | None:
    text = _single(query, field)
    if not text:
        return default
    if not text.isascii() or not text.lstrip("-").isdigit() or len(text) > 19 or not least <= int(text) <= most:
        raise _wrong(field, f"write a whole number from {least} to {most}")
    return int(text)


def priority_of(query: Mapping[str, list[str]]) -> int:
    """The priority of a job: from -100 to 100, 0 where none is named.

    Raises:
        PillionError: it cannot be read.
    """
    return _number(query, "priority", -100, 100, 0) or 0


def follows(query: Mapping[str, list[str]], headers: Mapping[bytes, bytes]) -> bool:
    """Whether a client wants what comes, too.

    Raises:
        PillionError: it says something else than yes or no.
    """
    text = _single(query, "follow").lower()
    if text not in ("", "true", "1", "false", "0"):
        raise _wrong("follow", "write true or false")
    return text in ("true", "1") or (not text and b"text/event-stream" in headers.get(b"accept", b""))


def place_of(query: Mapping[str, list[str]], headers: Mapping[bytes, bytes]) -> int:
    """Where in what was written a client goes on: ``after`` of the query, or the id of the event that it saw last.

    Raises:
        PillionError: it cannot be read.
    """
    seen = headers.get(b"last-event-id", b"")
    default = int(seen) if seen.isdigit() and len(seen) < 19 else 0
    return _number(query, "after", 0, 2**62, default) or 0


def _wrong(field: str, text: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {text}", field=field)
