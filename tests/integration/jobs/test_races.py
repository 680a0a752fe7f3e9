"""What servers that share jobs in PostgreSQL do to each other in the very moment, each brought about on purpose."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from pillion.jobs.engine import JobEngine
from pillion.jobs.postgres_store import PostgresJobStore
from pillion.jobs.recovery import after_restart
from pillion.jobs.runner import Done
from pillion.jobs.settings import JobSettings
from pillion.jobs.sqlite_store import SqliteJobStore
from pillion.jobs.states import Job, JobKind, JobState, cancel, requeued
from pillion.jobs.store import Payload, StoreUnreachableError
from tests.integration.jobs.cut_line import cut_line
from tests.waiting import until, until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pillion.jobs.runner import Control, Outcome
    from tests.postgres import Postgres

    Open = Callable[..., PostgresJobStore]

KIND = JobKind.PREDICTION


@pytest.fixture
def schema(postgres_server: Postgres) -> str:
    return postgres_server.schema()


@pytest.fixture
def share(postgres_server: Postgres, schema: str) -> Iterator[Open]:
    """Opens a server's view of the store, by the database's own port or by another."""
    stores: list[PostgresJobStore] = []

    def another(lease: float = 600.0, port: int | None = None) -> PostgresJobStore:
        url = postgres_server.url
        if port is not None:
            url = url.replace(f":{postgres_server.port}/", f":{port}/")
        stores.append(PostgresJobStore(url, schema, lease))
        return stores[-1]

    yield another
    for store in stores:
        store.close()


def add(store: PostgresJobStore, name: str, **fields: object) -> None:
    values = {"id": name, "kind": KIND, "model": "mood", "task": "classify", "submitted": 1.0, **fields}
    assert store.submit(Job(**values), Payload(inline=b"{}"), 10_000, 1 << 30) is not None  # type: ignore[arg-type]  # made of what a test names


def lost(job: Job) -> Job:
    return after_restart(job, now=9.0, max_attempts=3)


def patient(store: PostgresJobStore) -> PostgresJobStore:
    """As after a whole lease, so that it may judge others."""
    store._lease._steady_since = float("-inf")
    return store


def test_a_job_whose_claim_was_committed_and_not_answered_is_handed_out_by_the_next_claim(
    postgres_server: Postgres, share: Open
) -> None:
    with cut_line(postgres_server.port) as line:
        store = share(port=line.port)
        add(store, "a")
        add(store, "b")
        line.word = b"COMMIT\0"
        with pytest.raises(StoreUnreachableError):
            store.claim(KIND, 2.0)
        assert 1 == line.cuts
        stranded = store.get("a")
        assert stranded is not None
        assert JobState.RUNNING is stranded.state

        claimed = [store.claim(KIND, 3.0) for _ in range(3)]

    assert ["a", "b", None] == [one and one.id for one in claimed]
    assert stranded == claimed[0]


def test_a_claim_that_was_never_committed_is_made_again(postgres_server: Postgres, share: Open) -> None:
    with cut_line(postgres_server.port) as line:
        store = share(port=line.port)
        add(store, "a")
        line.word = b"UPDATE s"
        with pytest.raises(StoreUnreachableError):
            store.claim(KIND, 2.0)
        # The database notices that its client has gone, and takes back what it did.
        until_now(lambda: (again := store.claim(KIND, 3.0)) is not None and again.claims == 1)


def test_two_servers_that_purge_at_once_forget_no_more_than_one_would(
    postgres_server: Postgres, schema: str, share: Open
) -> None:
    first, second = share(), share()
    for number in range(12):
        add(first, str(number))
        first.change(str(number), functools.partial(cancel, now=float(number)))
    gone: list[list[str]] = []
    purges = [
        threading.Thread(target=lambda store=store: gone.append(store.purge(0.0, 10, 4))) for store in (first, second)
    ]
    with psycopg.connect(postgres_server.url) as holding:
        # Whoever purges has chosen, and waits to count.
        holding.execute(f"SELECT FROM {schema}.totals FOR UPDATE".encode())
        purges[0].start()
        until_now(lambda: _waiting(postgres_server) == 1)
        purges[1].start()
        until_now(lambda: _waiting(postgres_server) == 2 or not purges[1].is_alive())
        holding.rollback()
    for purge in purges:
        purge.join()

    assert ["0", "1"] == sorted(one for some in gone for one in some)
    assert {(KIND, JobState.CANCELED): 10} == first.counts()


def _waiting(server: Postgres) -> int:
    """Transactions that wait for a lock."""
    (row,) = server.query("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return int(row[0])


def test_a_job_that_another_server_claims_while_the_lost_are_looked_for_is_left_to_it(
    postgres_server: Postgres, schema: str, share: Open
) -> None:
    judge, gone, claims = patient(share()), share(), share()
    add(gone, "a")
    gone.claim(KIND, 2.0)
    name = gone._lease.server
    postgres_server.query(f"UPDATE {schema}.servers SET alive_until = now() - interval '1s' WHERE id = '{name}'")
    # The same servers, at which each look takes a second: what happens meanwhile is not in its snapshot.
    postgres_server.query(
        f"ALTER TABLE {schema}.servers RENAME TO those;"
        f"CREATE VIEW {schema}.servers AS SELECT * FROM {schema}.those WHERE (SELECT pg_sleep(1)::text) = '';"
        f"CREATE RULE kept AS ON DELETE TO {schema}.servers DO INSTEAD NOTHING"
    )
    taken: list[Job] = []
    look = threading.Thread(target=lambda: taken.extend(judge.take_up(lost)))
    look.start()
    until_now(
        lambda: (
            postgres_server.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%SKIP%'")
            != []
        )
    )
    claims.change("a", functools.partial(requeued, now=3.0, reason="", counts=True))
    run = claims.claim(KIND, 4.0)
    look.join()

    assert [] == taken
    assert run == claims.get("a")


def test_a_machine_that_slept_says_that_it_lives_before_it_claims_and_judges_nobody(
    postgres_server: Postgres, schema: str, share: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept, judge = patient(share()), patient(share())
    add(slept, "a")
    postgres_server.query(f"UPDATE {schema}.servers SET alive_until = now() WHERE id = '{slept._lease.server}'")
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    with monkeypatch.context() as clocks:
        clocks.setattr("time.clock_gettime", lambda _: now + 3600.0)  # and CLOCK_MONOTONIC stands still
        assert [] == slept.take_up(lost)
        run = slept.claim(KIND, 2.0)

    assert [] == judge.take_up(lost)
    assert run == judge.get("a")


class _Echo:
    """Gives back what it is given, when it may."""

    stops_at_once = False

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def run(self, _job: Job, request: bytes, _control: Control) -> Outcome:
        if request == b'"wait"':
            await self.may_end.wait()
        return Done(request)


async def _ended(engine: JobEngine, identity: str) -> Job:
    async with asyncio.timeout(60):
        with engine.changes.following(identity) as changed:
            while not (job := await engine.get(identity)).ended:
                await changed.wait()
                changed.clear()
    return job


async def test_a_result_that_takes_longer_than_the_lease_to_write_costs_no_other_job(
    postgres_server: Postgres, schema: str, share: Open, tmp_path: Path
) -> None:
    other = patient(share(lease=1.0))
    echo = _Echo()
    engine = JobEngine(JobSettings(None, tmp_path), lambda: share(lease=3.0), {KIND: echo})
    await engine.open()
    try:
        runs = await engine.submit(KIND, model="mood", task="classify", request=b'"wait"')
        large = await engine.submit(KIND, model="mood", task="classify", request=b"{}")
        with psycopg.connect(postgres_server.url) as slow:
            # As long as this is held the result is being written, as one of a gigabyte is.
            slow.execute(f"LOCK TABLE {schema}.payloads IN SHARE MODE".encode())
            engine.begin()
            await asyncio.to_thread(until_now, lambda: _waiting(postgres_server) == 1)
            end = time.monotonic() + 5.0
            while time.monotonic() < end:
                await asyncio.to_thread(other.beat)
                assert [] == await asyncio.to_thread(other.take_up, lost)
                await asyncio.sleep(0.1)
            slow.rollback()
        echo.may_end.set()
        ended = [await _ended(engine, one.id) for one in (runs, large)]
    finally:
        await engine.stop(1.0)

    assert [(JobState.COMPLETED, 1)] * 2 == [(one.state, one.claims) for one in ended]


class _Counting(PostgresJobStore):
    """Counts how often it is asked for a job."""

    asked = 0

    def claim(self, kind: JobKind, now: float) -> Job | None:
        self.asked += 1
        return super().claim(kind, now)


async def test_a_job_that_somebody_else_holds_is_asked_for_now_and_then(
    postgres_server: Postgres, schema: str, tmp_path: Path
) -> None:
    store = _Counting(postgres_server.url, schema)
    engine = JobEngine(JobSettings(None, tmp_path), lambda: store, {KIND: _Echo()})
    await engine.open()
    try:
        job = await engine.submit(KIND, model="mood", task="classify", request=b"{}")
        with psycopg.connect(postgres_server.url) as holding:
            holding.execute(f"SELECT FROM {schema}.jobs FOR UPDATE".encode())
            engine.begin()
            await until(lambda: store.asked >= 2)
            before, began = store.asked, time.monotonic()
            await asyncio.sleep(1.0)
            asked = (store.asked - before) / (time.monotonic() - began)
        await _ended(engine, job.id)
    finally:
        await engine.stop(1.0)

    assert asked <= 15  # in a second, however long this one was


class _CountsFail(SqliteJobStore):
    """A store that goes away once, right after it has given a job away."""

    armed = False

    def claim(self, kind: JobKind, now: float) -> Job | None:
        job = super().claim(kind, now)
        self.armed = self.armed or job is not None
        return job

    def counts(self) -> dict[tuple[JobKind, JobState], int]:
        if self.armed:
            self.armed = False
            raise StoreUnreachableError("the connection was lost")
        return dict(super().counts())


async def test_a_job_that_was_claimed_runs_although_nobody_can_count_jobs_then(tmp_path: Path) -> None:
    store = _CountsFail(tmp_path)
    engine = JobEngine(JobSettings(tmp_path, tmp_path), lambda: store, {KIND: _Echo()})
    await engine.open()
    engine.begin()
    try:
        job = await engine.submit(KIND, model="mood", task="classify", request=b"{}")
        assert JobState.COMPLETED is (await _ended(engine, job.id)).state
    finally:
        await engine.stop(1.0)
