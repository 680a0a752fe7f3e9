"""Jobs in SQLite: one file in a folder that one server has to itself.

The write-ahead log is synchronised at every commit (``synchronous=FULL``), so what a method has promised is there after
a power cut. A file that cannot be trusted is never replaced by an empty one: opening it fails and says what to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.jobs.folders import FILES, make_private
from pillion.jobs.sqlite_schema import APPLICATION_ID, migrate
from pillion.jobs.states import JobKind, JobState, started
from pillion.jobs.store import JobStoreError, Payload, StoreFullError
from pillion.jobs.store_rows import changed_by, check_room, conditions_of, document_of, job_of, page_of, purgeable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from pillion.jobs.states import Job
    from pillion.jobs.store import JobFilter, Page

__all__ = ["DATABASE", "SqliteJobStore"]

DATABASE: Final = "jobs.sqlite"
_COLUMNS: Final = "state = ?, priority = ?, not_before = ?, finished = ?, document = ?"
_BESIDE: Final = ("-wal", "-shm")
_AT_ONCE: Final = 500
"""Ids of one question to the database."""


class SqliteJobStore:
    """See :class:`~pillion.jobs.store.JobStore`. Any thread; one at a time gets its turn.

    Args:
        folder: where the file is; made where it is not there.

    Raises:
        JobStoreError: another server has the folder, or the file cannot be trusted.
    """

    lease_seconds: float | None = None

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._file = folder / DATABASE
        try:
            make_private(folder)
            self._held = _hold(folder)
        except OSError as error:
            raise JobStoreError(f"{folder}: jobs cannot be kept there: {error.strerror}") from error
        try:
            _check_left(self._file)
            # Made before SQLite makes it, for this user alone: what it makes beside it (-wal, -shm) gets its mode.
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._database = _opened(self._file)
            found = self._database.execute("SELECT value FROM secrets WHERE name = 'callers'")
            self.caller_secret: bytes = found.fetchone()[0]
        except OSError as error:
            os.close(self._held)
            raise JobStoreError(f"{folder}: jobs cannot be kept there: {error.strerror}") from error
        except BaseException:
            os.close(self._held)
            raise
        self._closed = False

    def submit(
        self, job: Job, request: Payload, limit: int, most_bytes: int, former_keys: Sequence[str] = ()
    ) -> Job | None:
        """See :meth:`pillion.jobs.store.JobStore.submit`."""
        with self._transaction() as database:
            if job.idempotency_key:
                keys = (job.idempotency_key, *former_keys)
                former = database.execute(
                    f"SELECT sequence, document FROM jobs WHERE kind = ? AND idempotency_key IN"  # noqa: S608 - question marks
                    f" ({', '.join('?' * len(keys))}) AND idempotency_key <> '' ORDER BY sequence LIMIT 1",
                    (job.kind.value, *keys),
                ).fetchone()
                if former is not None:
                    return job_of(former)
            waiting = database.execute(
                "SELECT jobs FROM totals WHERE kind = ? AND state = 'QUEUED'", (job.kind.value,)
            ).fetchone()
            if waiting is not None and waiting[0] >= limit:
                return None
            check_room(_stored(database), request.size, most_bytes)
            cursor = database.execute(
                "INSERT INTO jobs (id, kind, state, model, task, priority, not_before, submitted, finished,"
                " idempotency_key, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job.id, job.kind.value, job.state.value, job.model, job.task, job.priority, job.not_before,
                    job.submitted, job.finished, job.idempotency_key, document_of(job),
                ),
            )  # fmt: skip
            _keep(database, job.id, "request", request)
            return msgspec.structs.replace(job, sequence=cursor.lastrowid or 0)

    def stored_bytes(self) -> int:
        """See :meth:`pillion.jobs.store.JobStore.stored_bytes`."""
        with self._reading() as database:
            return _stored(database)

    def get(self, identity: str) -> Job | None:
        """See :meth:`pillion.jobs.store.JobStore.get`."""
        with self._reading() as database:
            return _find(database, identity)

    def request(self, identity: str) -> Payload | None:
        """See :meth:`pillion.jobs.store.JobStore.request`."""
        return self._payload(identity, "request")

    def result(self, identity: str) -> Payload | None:
        """See :meth:`pillion.jobs.store.JobStore.result`."""
        return self._payload(identity, "result")

    def claim(self, kind: JobKind, now: float) -> Job | None:
        """See :meth:`pillion.jobs.store.JobStore.claim`."""
        with self._transaction() as database:
            row = database.execute(
                # Named, as the planner would rather sort all that are due.
                "SELECT sequence, document FROM jobs INDEXED BY queue"
                " WHERE kind = ? AND state = 'QUEUED' AND not_before <= ?"
                " ORDER BY priority DESC, max(not_before, submitted), sequence LIMIT 1",
                (kind.value, now),
            ).fetchone()
            if row is None:
                return None
            job = started(job_of(row), now)
            _save(database, job)
            return job

    def next_due(self, kind: JobKind) -> float | None:
        """See :meth:`pillion.jobs.store.JobStore.next_due`."""
        with self._reading() as database:
            row = database.execute(
                "SELECT min(not_before) FROM jobs WHERE kind = ? AND state = 'QUEUED'", (kind.value,)
            ).fetchone()
            due: float | None = row[0]
            return due

    def change(self, identity: str, transition: Callable[[Job], Job], result: Payload | None = None) -> Job | None:
        """See :meth:`pillion.jobs.store.JobStore.change`."""
        with self._transaction() as database:
            return changed_by(
                transition,
                _find(database, identity),
                result,
                lambda changed: _save(database, changed),
                lambda payload: _keep(database, identity, "result", payload),
            )

    def take_up(self, transition: Callable[[Job], Job]) -> list[Job]:
        """See :meth:`pillion.jobs.store.JobStore.take_up`."""
        with self._transaction() as database:
            rows = database.execute("SELECT sequence, document FROM jobs WHERE state = 'RUNNING' ORDER BY sequence")
            taken = [transition(job_of(row)) for row in rows.fetchall()]
            for job in taken:
                _save(database, job)
            return taken

    def beat(self) -> list[str]:
        """See :meth:`pillion.jobs.store.JobStore.beat`."""
        return []

    def page(self, which: JobFilter, after: int | None, size: int) -> Page:
        """See :meth:`pillion.jobs.store.JobStore.page`."""
        where, values = conditions_of(which, after, "?")
        with self._reading() as database:
            rows = database.execute(
                f"SELECT sequence, document FROM jobs{where} ORDER BY sequence DESC LIMIT ?",  # noqa: S608 - our own words
                (*values, size + 1),
            ).fetchall()
        return page_of(rows, size)

    def counts(self) -> dict[tuple[JobKind, JobState], int]:
        """See :meth:`pillion.jobs.store.JobStore.counts`."""
        with self._reading() as database:
            rows = database.execute("SELECT kind, state, jobs FROM totals WHERE jobs > 0").fetchall()
        return {(JobKind(kind), JobState(state)): count for kind, state, count in rows}

    def purge(self, finished_before: float, keep: int, most: int) -> list[str]:
        """See :meth:`pillion.jobs.store.JobStore.purge`."""
        with self._transaction() as database:
            ended = database.execute(
                "SELECT coalesce(sum(jobs), 0) FROM totals WHERE state NOT IN ('QUEUED', 'RUNNING')"
            ).fetchone()[0]
            rows = database.execute(
                "SELECT id, finished FROM jobs WHERE finished IS NOT NULL ORDER BY finished LIMIT ?", (most,)
            ).fetchall()
            gone = purgeable(rows, ended, finished_before, keep)
            database.executemany("DELETE FROM jobs WHERE id = ?", [(identity,) for identity in gone])
            return gone

    def known(self, identities: Collection[str]) -> set[str]:
        """See :meth:`pillion.jobs.store.JobStore.known`."""
        wanted, found = list(identities), set()
        with self._reading() as database:
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                rows = database.execute(f"SELECT id FROM jobs WHERE id IN ({', '.join('?' * len(some))})", some)  # noqa: S608 - question marks
                found |= {row[0] for row in rows}
        return found

    def close(self) -> None:
        """See :meth:`pillion.jobs.store.JobStore.close`."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._database.close()
                os.close(self._held)

    def _payload(self, identity: str, role: str) -> Payload | None:
        with self._reading() as database:
            row = database.execute(
                "SELECT media_type, inline, file, headers FROM payloads WHERE id = ? AND role = ?", (identity, role)
            ).fetchone()
        return None if row is None else Payload(row[0], row[1], row[2], msgspec.json.decode(row[3]))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _explained(self._file):
            yield self._database

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _explained(self._file):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


def _find(database: sqlite3.Connection, identity: str) -> Job | None:
    row = database.execute("SELECT sequence, document FROM jobs WHERE id = ?", (identity,)).fetchone()
    return None if row is None else job_of(row)


def _stored(database: sqlite3.Connection) -> int:
    found: int = database.execute("SELECT bytes FROM stored").fetchone()[0]
    return found


def _save(database: sqlite3.Connection, job: Job) -> None:
    database.execute(
        f"UPDATE jobs SET {_COLUMNS} WHERE sequence = ?",  # noqa: S608 - our own words
        (job.state.value, job.priority, job.not_before, job.finished, document_of(job), job.sequence),
    )


def _keep(database: sqlite3.Connection, identity: str, role: str, payload: Payload) -> None:
    database.execute(
        "INSERT INTO payloads (id, role, media_type, inline, file, headers, size) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            identity, role, payload.media_type, payload.inline, payload.file,
            msgspec.json.encode(payload.headers).decode(), payload.size,
        ),
    )  # fmt: skip


def _hold(folder: Path) -> int:
    """Take the folder for this process.

    Raises:
        JobStoreError: another one has it.
    """
    held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(held, 32).decode(errors="replace").strip()
        os.close(held)
        by = f" (process {holder})" if holder else ""
        raise JobStoreError(
            f"{folder}: another server{by} keeps its jobs there: stop it, or name another folder with --data-dir"
        ) from None
    with contextlib.suppress(OSError):  # on a full disk nobody is told who has it
        os.ftruncate(held, 0)
        os.write(held, b"%d\n" % os.getpid())
    return held


def _check_left(file: Path) -> None:
    """Whether the store is there, where there are files of jobs: with an empty one they would be nobody's, and removed.

    Raises:
        JobStoreError: it is not.
    """
    if file.exists() and file.stat().st_size:
        return
    files = file.with_name(FILES)
    left = sum(1 for _ in files.iterdir()) if files.is_dir() else 0
    log = file.with_name(f"{file.name}-wal")
    if left or (log.exists() and log.stat().st_size):
        what = f"the files of {left} jobs are" if left else f"its log ({log.name}) is"
        raise JobStoreError(
            f"{file}: the job store is {'empty' if file.exists() else 'missing'}, and {what} there: nothing was"
            f" changed. Restore it from a backup, or move the folder {file.parent} away to begin anew"
        )


def _opened(file: Path) -> sqlite3.Connection:
    repair = (
        f"nothing was changed. Move it away to begin anew ({file}, with its -wal and -shm), or get its jobs out with:"
        f" sqlite3 {file} .recover"
    )
    database: sqlite3.Connection | None = None
    try:
        # Transactions are begun by hand; the lock of the store is what keeps threads apart.
        database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        _check(database, file, repair)
        for one in (file, *(file.with_name(f"{file.name}{ending}") for ending in _BESIDE)):
            with contextlib.suppress(FileNotFoundError):
                one.chmod(0o600)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        migrate(database, file)
    except sqlite3.DatabaseError as error:
        if database is not None:
            database.close()
        match getattr(error, "sqlite_errorcode", None):
            case sqlite3.SQLITE_FULL:
                raise StoreFullError(f"there is no room left on the disk of {file.parent}: make some") from error
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise JobStoreError(
                    f"{file}: another program has the job store locked ({error}): nothing was changed. End it (fuser"
                    f" {file} names it), and start again"
                ) from error
        raise JobStoreError(f"{file}: the job store cannot be read ({error}); {repair}") from error
    except BaseException:
        if database is not None:
            database.close()
        raise
    return database


def _check(database: sqlite3.Connection, file: Path, repair: str) -> None:
    """Whether the file is a job store, and whole.

    Raises:
        JobStoreError: it is not.
    """
    if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return  # it is new
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise JobStoreError(f"{file}: is a database of another program; name another folder with --data-dir")
    damage = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise JobStoreError(f"{file}: the job store is damaged ({damage}); {repair}")


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Say what SQLite means.

    Raises:
        StoreFullError: no room.
        JobStoreError: anything else.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_FULL:
            raise StoreFullError(f"there is no room left on the disk of {file.parent}: make some") from error
        raise JobStoreError(f"{file}: {error}") from error
