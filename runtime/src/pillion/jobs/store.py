"""What keeps jobs: the seam for SQLite, which one server has to itself, and PostgreSQL, which several share.

Every method is one transaction that is on disk when it returns. Calls block, so the engine makes them in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pillion.jobs.states import Job, JobKind, JobState

__all__ = [
    "JobFilter",
    "JobStore",
    "JobStoreError",
    "Page",
    "Payload",
    "StoreFullError",
    "StoreLimitError",
    "StoreUnreachableError",
]


class JobStoreError(Exception):
    """The store cannot be used. The text says why, and how to repair it."""


class StoreFullError(JobStoreError):
    """There is no room on its disk."""


class StoreLimitError(JobStoreError):
    """A job would go beyond a limit of what is kept.

    Args:
        message: one sentence.
        field: the setting.
        remedy: what can be done.
    """

    def __init__(self, message: str, *, field: str, remedy: str) -> None:
        super().__init__(message)
        self.field = field
        self.remedy = remedy


class StoreUnreachableError(JobStoreError):
    """It does not answer now, and may later."""


class Payload(msgspec.Struct, frozen=True):
    """What a job was given, or what it gave: here where it is small, else in a file of the job's folder."""

    media_type: str = "application/json"
    inline: bytes | None = None
    file: str = ""
    """Name of the file in the job's folder."""
    headers: dict[str, str] = {}
    """Of the answer, where it is a file to be saved."""
    file_bytes: int = 0
    """Size of that file, for the store to count; a payload that is read from a store does not say it."""

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.file_bytes if self.inline is None else len(self.inline)


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs of a list; all conditions hold."""

    kind: JobKind | None = None
    states: tuple[JobState, ...] = ()
    """Any of these; empty for any at all."""
    model: str = ""
    task: str = ""
    since: float | None = None
    """Submitted at that time or later."""
    until: float | None = None
    """Submitted before."""


class Page(msgspec.Struct, frozen=True):
    """Jobs of a list, the newest first."""

    jobs: tuple[Job, ...]
    following: int | None
    """What to continue ``after``; None at the end."""


class JobStore(Protocol):
    """Jobs, durable."""

    lease_seconds: float | None
    """How long a server may be silent before others take its jobs up; None where one server has the store to itself."""
    caller_secret: bytes
    """Random, and the same for as long as the store is there: of the digests of callers' names."""

    def submit(
        self, job: Job, request: Payload, limit: int, most_bytes: int, former_keys: Sequence[str] = ()
    ) -> Job | None:
        """Take a job. The same idempotency key and kind again gives the job of the first time.

        ``former_keys`` are how earlier versions kept the key.

        Gives None where ``limit`` jobs of its kind wait already.

        Raises:
            StoreLimitError: with it, inputs and results would be more than ``most_bytes``.
        """
        ...

    def stored_bytes(self) -> int:
        """Bytes of all inputs and results."""
        ...

    def get(self, identity: str) -> Job | None:
        """A job as it is now."""
        ...

    def request(self, identity: str) -> Payload | None:
        """What it was given."""
        ...

    def result(self, identity: str) -> Payload | None:
        """What it gave; None until it is COMPLETED."""
        ...

    def claim(self, kind: JobKind, now: float) -> Job | None:
        """Take the next one that waits, RUNNING from now on; no two callers get the same."""
        ...

    def next_due(self, kind: JobKind) -> float | None:
        """When the first of those that wait may be tried; None where none waits."""
        ...

    def change(self, identity: str, transition: Callable[[Job], Job], result: Payload | None = None) -> Job | None:
        """Apply a transition of :mod:`pillion.jobs.states` to the job as it is at that moment.

        ``result`` is kept if that made it COMPLETED. Gives the job as it is then; None where there is none.
        """
        ...

    def take_up(self, transition: Callable[[Job], Job]) -> list[Job]:
        """Apply a transition to the jobs that are RUNNING and that no living server runs; gives what became of them.

        Of a store that one server has to itself these are all that are RUNNING: it asks before it runs any.
        """
        ...

    def beat(self) -> list[str]:
        """Say that this server lives; gives the ids of jobs that run here and that somebody wants to stop.

        Called about every second where the store is shared, and never kept waiting by another method that runs; others
        have nothing to say.
        """
        ...

    def page(self, which: JobFilter, after: int | None, size: int) -> Page:
        """A page of the list, newest first; it takes as long in a list of ten as in one of ten thousand."""
        ...

    def counts(self) -> Mapping[tuple[JobKind, JobState], int]:
        """How many there are of each kind in each state; those with none are left out."""
        ...

    def purge(self, finished_before: float, keep: int, most: int) -> list[str]:
        """Forget jobs that ended before that time, and the oldest ended ones beyond ``keep``; at most ``most``."""
        ...

    def known(self, identities: Collection[str]) -> set[str]:
        """Those of the ids that there are."""
        ...

    def close(self) -> None:
        """Let go of it. Idempotent."""
        ...
