"""Jobs in PostgreSQL, for several servers of one service: each takes what waits, and answers for every job.

A server that runs jobs says every few seconds that it lives, by the clock of the database. One that has been silent
for longer than its lease has lost its jobs: any other takes them up, and the number of the run (``Job.claims``) keeps
a server that wakes up late from changing what is no longer its own. Inputs and results are in the database as well, so
nothing has to be shared besides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.jobs import postgres_schema
from pillion.jobs.postgres_connection import PostgresConnection
from pillion.jobs.postgres_lease import ServerLease
from pillion.jobs.states import JobKind, JobState, started
from pillion.jobs.store import JobStoreError, Page, Payload, StoreFullError
from pillion.jobs.store_rows import changed_by, check_room, conditions_of, document_of, job_of, page_of, purgeable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import psycopg

    from pillion.jobs.states import Job
    from pillion.jobs.store import JobFilter

    Cursor = psycopg.Cursor[Any]

__all__ = ["PostgresJobStore"]

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_STATES: Final = tuple(state.value for state in JobState)
_AT_ONCE: Final = 1000
_GONE: Final = (
    "NOT EXISTS (SELECT FROM {s}.servers AS servers WHERE servers.id = jobs.server AND servers.alive_until >= now())"
)
"""Of a job that runs: its server has been silent for longer than its lease, or has said goodbye."""
_MOST_BYTES: Final = 1024**3 - 1024
"""Of one value in PostgreSQL."""


class PostgresJobStore:
    """See :class:`~pillion.jobs.store.JobStore`. Any thread; one at a time gets its turn.

    Args:
        url: of the database.
        schema: where the tables are, of one service; made where it is not there.
        lease_seconds: how long this server may be silent before others take its jobs up.

    Raises:
        JobStoreError: the database holds no store that can be trusted.
        StoreUnreachableError: it does not answer now.
    """

    def __init__(self, url: str, schema: str = "pillion", lease_seconds: float = 15.0) -> None:
        if not _SCHEMA.fullmatch(schema):
            raise JobStoreError(f"jobs.database_schema: {schema!r} is no name of lowercase letters, digits and _")
        self.lease_seconds: float | None = lease_seconds
        self._schema = schema
        self._unsure: dict[str, Job] = {}
        self._lease = ServerLease(schema, lease_seconds, len(postgres_schema.STEPS))

        def prepare(cursor: Cursor) -> None:
            postgres_schema.migrate(cursor, schema)
            self._lease.announce(cursor)

        self._database = PostgresConnection(url, prepare)
        try:
            self.caller_secret: bytes = self._database.transaction(self._secret)
            self._lease.begin(url)
        except BaseException:
            self._database.close()
            raise

    def submit(
        self, job: Job, request: Payload, limit: int, most_bytes: int, former_keys: Sequence[str] = ()
    ) -> Job | None:
        """See :meth:`pillion.jobs.store.JobStore.submit`."""

        def work(cursor: Cursor) -> Job | None:
            # Locked, so that no two submissions see the same room, or the same key that nobody has.
            self._ask(cursor, "SELECT queued FROM {s}.totals WHERE kind = %s FOR UPDATE", job.kind.value)
            waiting = _first(cursor)
            if job.idempotency_key:
                self._ask(
                    cursor,
                    "SELECT sequence, document FROM {s}.jobs"
                    " WHERE kind = %s AND idempotency_key = ANY(%s) AND idempotency_key <> ''"
                    " ORDER BY sequence LIMIT 1",
                    job.kind.value,
                    [job.idempotency_key, *former_keys],
                )
                if (former := cursor.fetchone()) is not None:
                    return job_of(former)
            if waiting >= limit:
                return None
            check_room(self._stored(cursor), request.size, most_bytes)
            self._ask(
                cursor,
                "INSERT INTO {s}.jobs (id, kind, state, model, task, priority, not_before, submitted, finished,"
                " idempotency_key, document) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING sequence",
                job.id, job.kind.value, job.state.value, job.model, job.task, job.priority, job.not_before,
                job.submitted, job.finished, job.idempotency_key, document_of(job).decode(),
            )  # fmt: skip
            sequence = _first(cursor)
            self._keep(cursor, job.id, "request", request)
            return msgspec.structs.replace(job, sequence=sequence)

        return self._database.transaction(work)

    def _secret(self, cursor: Cursor) -> bytes:
        self._ask(cursor, "SELECT value FROM {s}.secrets WHERE name = 'callers'")
        row = cursor.fetchone()
        if row is None:
            raise JobStoreError("the job store in the database is damaged: its secret is missing")
        return bytes(row[0])

    def stored_bytes(self) -> int:
        """See :meth:`pillion.jobs.store.JobStore.stored_bytes`."""
        return self._database.transaction(self._stored)

    def get(self, identity: str) -> Job | None:
        """See :meth:`pillion.jobs.store.JobStore.get`."""
        return self._database.transaction(lambda cursor: self._find(cursor, identity))

    def request(self, identity: str) -> Payload | None:
        """See :meth:`pillion.jobs.store.JobStore.request`."""
        return self._payload(identity, "request")

    def result(self, identity: str) -> Payload | None:
        """See :meth:`pillion.jobs.store.JobStore.result`."""
        return self._payload(identity, "result")

    def claim(self, kind: JobKind, now: float) -> Job | None:
        """See :meth:`pillion.jobs.store.JobStore.claim`.

        Where the answer to a commit is lost, the job may have been claimed and nobody runs it: that run is handed out
        by the next call.
        """
        chosen: Job | None = None

        def work(cursor: Cursor) -> Job | None:
            nonlocal chosen
            chosen = self._claimed_before(cursor, kind)
            if chosen is not None:
                return chosen
            self._ask(
                cursor,
                "SELECT sequence, document FROM {s}.jobs WHERE kind = %s AND state = 'QUEUED' AND not_before <= %s"
                " ORDER BY priority DESC, greatest(not_before, submitted), sequence LIMIT 1 FOR UPDATE SKIP LOCKED",
                kind.value,
                now,
            )
            if (row := cursor.fetchone()) is None:
                return None
            chosen = started(job_of(row), now)
            self._save(cursor, chosen, self._lease.server)
            return chosen

        try:
            # What a server claims that nobody thinks alive would be taken from it. On the lease's own connection:
            # a claim that waits for others must not hold the row that says that this server lives.
            self._lease.renew()
            job = self._database.transaction(work)
        except JobStoreError:  # whatever it was: only an answer tells that nothing was committed
            if chosen is not None:
                self._unsure[chosen.id] = chosen
            raise
        if job is not None:
            self._unsure.pop(job.id, None)
        return job

    def _claimed_before(self, cursor: Cursor, kind: JobKind) -> Job | None:
        """A run that this server was given without being told."""
        for run in [run for run in self._unsure.values() if run.kind is kind]:
            self._ask(
                cursor,
                "SELECT sequence, document FROM {s}.jobs WHERE id = %s AND state = 'RUNNING' AND server = %s",
                run.id,
                self._lease.server,
            )
            if (row := cursor.fetchone()) is not None and (job := job_of(row)).claims == run.claims:
                return job
            self._unsure.pop(run.id, None)  # it was not claimed, or has been taken up since
        return None

    def next_due(self, kind: JobKind) -> float | None:
        """See :meth:`pillion.jobs.store.JobStore.next_due`."""

        def work(cursor: Cursor) -> float | None:
            self._ask(cursor, "SELECT min(not_before) FROM {s}.jobs WHERE kind = %s AND state = 'QUEUED'", kind.value)
            row = cursor.fetchone()
            return None if row is None else row[0]

        return self._database.transaction(work)

    def change(self, identity: str, transition: Callable[[Job], Job], result: Payload | None = None) -> Job | None:
        """See :meth:`pillion.jobs.store.JobStore.change`."""
        return self._database.transaction(
            lambda cursor: changed_by(
                transition,
                self._find(cursor, identity, for_update=True),
                result,
                lambda changed: self._save(cursor, changed),
                lambda payload: self._keep(cursor, identity, "result", payload),
            )
        )

    def take_up(self, transition: Callable[[Job], Job]) -> list[Job]:
        """See :meth:`pillion.jobs.store.JobStore.take_up`, and for who may: :meth:`ServerLease.judges`."""
        if not self._lease.judges():
            return []

        def work(cursor: Cursor) -> list[Job]:
            self._ask(
                cursor,
                "SELECT sequence FROM {s}.jobs WHERE state = 'RUNNING' AND {gone}"
                " ORDER BY sequence LIMIT %s FOR UPDATE SKIP LOCKED",
                _AT_ONCE,
            )
            # Judged again now that they are locked, by a statement that sees all that was committed until then: another
            # server may have claimed one since the first began, and have said only then that it lives.
            self._ask(
                cursor,
                "SELECT sequence, document FROM {s}.jobs WHERE sequence = ANY(%s) AND state = 'RUNNING' AND {gone}"
                " ORDER BY sequence",
                [row[0] for row in cursor.fetchall()],
            )
            taken = [transition(job_of(row)) for row in cursor.fetchall()]
            for job in taken:
                self._save(cursor, job)
            self._ask(cursor, "DELETE FROM {s}.servers WHERE alive_until < now() - interval '1 day'")
            return taken

        return self._database.transaction(work)

    def beat(self) -> list[str]:
        """See :meth:`pillion.jobs.store.JobStore.beat`. It waits for nothing that the store is asked besides."""

        def work(cursor: Cursor) -> list[str]:
            self._ask(
                cursor,
                "SELECT id FROM {s}.jobs WHERE state = 'RUNNING' AND server = %s AND cancel_requested",
                self._lease.server,
            )
            return [row[0] for row in cursor.fetchall()]

        return self._lease.beat(work)

    def page(self, which: JobFilter, after: int | None, size: int) -> Page:
        """See :meth:`pillion.jobs.store.JobStore.page`."""
        where, values = conditions_of(which, after, "%s")
        if any(isinstance(value, str) and "\0" in value for value in values):
            return Page((), None)  # no text of PostgreSQL has one

        def work(cursor: Cursor) -> Page:
            text = f"SELECT sequence, document FROM {{s}}.jobs{where} ORDER BY sequence DESC LIMIT %s"  # noqa: S608 - our own words
            self._ask(cursor, text, *values, size + 1)
            return page_of(cursor.fetchall(), size)

        return self._database.transaction(work)

    def counts(self) -> dict[tuple[JobKind, JobState], int]:
        """See :meth:`pillion.jobs.store.JobStore.counts`."""

        def work(cursor: Cursor) -> dict[tuple[JobKind, JobState], int]:
            self._ask(cursor, "SELECT kind, queued, running, completed, canceled, errored FROM {s}.totals")
            return {
                (JobKind(kind), JobState(state)): count
                for kind, *counts in cursor.fetchall()
                for state, count in zip(_STATES, counts, strict=True)
                if count
            }

        return self._database.transaction(work)

    def purge(self, finished_before: float, keep: int, most: int) -> list[str]:
        """See :meth:`pillion.jobs.store.JobStore.purge`."""

        def work(cursor: Cursor) -> list[str]:
            # One server at a time: two would each count the surplus, and forget twice as many.
            self._ask(cursor, "SELECT pg_try_advisory_xact_lock(hashtext('pillion purge'), hashtext(%s))", self._schema)
            if not _first(cursor):
                return []
            self._ask(cursor, "SELECT coalesce(sum(completed + canceled + errored), 0)::bigint FROM {s}.totals")
            ended = _first(cursor)
            self._ask(
                cursor,
                "SELECT id, finished FROM {s}.jobs WHERE finished IS NOT NULL ORDER BY finished LIMIT %s"
                " FOR UPDATE SKIP LOCKED",
                most,
            )
            gone = purgeable(cursor.fetchall(), ended, finished_before, keep)
            if gone:
                self._ask(cursor, "DELETE FROM {s}.jobs WHERE id = ANY(%s)", gone)
            return gone

        return self._database.transaction(work)

    def known(self, identities: Collection[str]) -> set[str]:
        """See :meth:`pillion.jobs.store.JobStore.known`."""

        def work(cursor: Cursor) -> set[str]:
            self._ask(cursor, "SELECT id FROM {s}.jobs WHERE id = ANY(%s)", list(identities))
            return {row[0] for row in cursor.fetchall()}

        return self._database.transaction(work)

    def close(self) -> None:
        """See :meth:`pillion.jobs.store.JobStore.close`. What still runs here is for others to take up, at once."""
        self._lease.close()
        self._database.close()

    # --- inside

    def _ask(self, cursor: Cursor, text: str, *values: object) -> None:
        cursor.execute(text.format(s=self._schema, gone=_GONE.format(s=self._schema)).encode(), values or None)

    def _stored(self, cursor: Cursor) -> int:
        self._ask(cursor, "SELECT sum(bytes)::bigint FROM {s}.totals")
        return _first(cursor)

    def _find(self, cursor: Cursor, identity: str, *, for_update: bool = False) -> Job | None:
        if "\0" in identity:
            return None  # no text of PostgreSQL has one
        text = "SELECT sequence, document FROM {s}.jobs WHERE id = %s"
        self._ask(cursor, f"{text} FOR UPDATE" if for_update else text, identity)
        row = cursor.fetchone()
        return None if row is None else job_of(row)

    def _save(self, cursor: Cursor, job: Job, server: str | None = None) -> None:
        self._ask(
            cursor,
            "UPDATE {s}.jobs SET state = %s, priority = %s, not_before = %s, finished = %s, cancel_requested = %s,"
            " document = %s, server = coalesce(%s, server) WHERE sequence = %s",
            job.state.value, job.priority, job.not_before, job.finished, job.cancel_requested,
            document_of(job).decode(), server, job.sequence,
        )  # fmt: skip

    def _keep(self, cursor: Cursor, identity: str, role: str, payload: Payload) -> None:
        content = payload.inline or b""
        if len(content) > _MOST_BYTES:
            raise StoreFullError(f"a {role} of {len(content)} bytes is more than the database takes (1 GiB)")
        self._ask(
            cursor,
            "INSERT INTO {s}.payloads VALUES (%s, %s, %s, %s, %s)",
            identity, role, payload.media_type, content, msgspec.json.encode(payload.headers).decode(),
        )  # fmt: skip

    def _payload(self, identity: str, role: str) -> Payload | None:
        def work(cursor: Cursor) -> Payload | None:
            self._ask(
                cursor,
                "SELECT media_type, content, headers FROM {s}.payloads WHERE id = %s AND role = %s",
                identity,
                role,
            )
            row = cursor.fetchone()
            return None if row is None else Payload(row[0], bytes(row[1]), headers=msgspec.json.decode(row[2]))

        return self._database.transaction(work)


def _first(cursor: Cursor) -> int:
    row = cursor.fetchone()
    if row is None:
        raise JobStoreError("the job store in the database is damaged: a row of its totals is missing")
    number: int = row[0]
    return number
