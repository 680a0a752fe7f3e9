"""Servers of several versions at one store: which work side by side, which are refused, and what they are told."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from typing import TYPE_CHECKING

import psycopg
import pytest

from pillion._version import __version__
from pillion.jobs import postgres_schema, sqlite_schema
from pillion.jobs.migration import Step
from pillion.jobs.postgres_lease import ServerLease
from pillion.jobs.postgres_store import PostgresJobStore
from pillion.jobs.sqlite_store import DATABASE, SqliteJobStore
from pillion.jobs.states import Job, JobKind, completed
from pillion.jobs.store import JobStoreError, Payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pillion.jobs.store import JobStore
    from tests.postgres import Postgres

KIND = JobKind.PREDICTION
RELEASED = {"sqlite": 4, "postgres": 3}
"""Steps of the last version that refused whatever was newer."""


class Versions:
    """Opens one store as servers of several versions do."""

    def __init__(self, kind: str, open_store: Callable[[], JobStore], patch: pytest.MonkeyPatch) -> None:
        self.kind = kind
        self._open = open_store
        self._patch = patch
        self._module = sqlite_schema if kind == "sqlite" else postgres_schema
        self._own = self._module.STEPS
        self._stores: list[JobStore] = []

    def open(self, *more: str, needs: int = 0) -> JobStore:
        """As a version with so many steps more; after the last a server has to know ``needs`` of these."""
        added = [Step(text.format(s="{s}." if self.kind == "postgres" else "")) for text in more]
        if needs:
            added[-1] = added[-1]._replace(needs=len(self._own) + needs)
        with self._patch.context() as patch:
            patch.setattr(self._module, "STEPS", (*self._own, *added))
            self._stores.append(self._open())
        return self._stores[-1]

    def leave(self) -> None:
        for store in self._stores:
            store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def versions(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Versions]:
    open_store: Callable[[], JobStore] = functools.partial(SqliteJobStore, tmp_path)
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres_server")
        open_store = functools.partial(PostgresJobStore, server.url, server.schema())
    found = Versions(request.param, open_store, monkeypatch)
    yield found
    found.leave()


@pytest.fixture
def shared(postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Versions]:
    open_store = functools.partial(PostgresJobStore, postgres_server.url, postgres_server.schema())
    found = Versions("postgres", open_store, monkeypatch)
    yield found
    found.leave()


MORE = "ALTER TABLE {s}jobs ADD COLUMN tenant text NOT NULL DEFAULT '';"
LESS = "ALTER TABLE {s}jobs DROP COLUMN tenant;"


def add(store: JobStore, name: str) -> None:
    job = Job(id=name, kind=KIND, model="mood", task="classify", submitted=1.0)
    assert store.submit(job, Payload(inline=b"5"), 100, 1 << 30) is not None


def run(store: JobStore) -> str:
    """Take the next job and end it."""
    job = store.claim(KIND, 2.0)
    assert job is not None
    store.change(job.id, functools.partial(completed, now=3.0), Payload(inline=b"6"))
    return job.id


def test_a_store_that_was_added_to_is_used_by_the_version_before_and_the_way_back_is_open(versions: Versions) -> None:
    add(versions.open(), "a")
    versions.leave()
    add(versions.open(MORE), "b")
    versions.leave()

    older = versions.open()
    add(older, "c")
    assert ["a", "b"] == [run(older), run(older)]
    versions.leave()
    newer = versions.open(MORE)  # the step is not taken again: there would be two columns of a name
    assert "c" == run(newer)
    assert Payload(inline=b"6") == newer.result("a")


def test_a_store_that_something_was_taken_from_is_refused_by_the_version_before_with_what_to_do(
    versions: Versions,
) -> None:
    add(versions.open(), "a")
    versions.leave()
    versions.open(MORE, LESS, needs=2).close()

    with pytest.raises(JobStoreError) as refused:
        versions.open(MORE)

    for said in (
        f"was changed by Pillion {__version__} in a way that this version",
        "Nothing was changed",
        f"Run Pillion {__version__} again; or restore the backup from before that update; or name another",
    ):
        assert said in str(refused.value)
    assert "a" == run(versions.open(MORE, LESS, needs=2))


def test_servers_before_and_after_an_update_share_jobs_while_it_rolls(shared: Versions) -> None:
    before = shared.open()
    add(before, "a")
    after = shared.open(MORE)
    add(after, "b")

    assert ["a", "b"] == [run(after), run(before)]
    assert Payload(inline=b"6") == before.result("a") == after.result("b")
    again = shared.open()  # one of the old pods starts again meanwhile
    add(again, "c")
    assert "c" == run(after)


def test_what_servers_that_run_could_not_use_is_not_begun_until_they_have_left(shared: Versions) -> None:
    before = shared.open()
    add(before, "a")

    with pytest.raises(JobStoreError) as refused:
        shared.open(MORE, LESS, needs=2)

    known = len(postgres_schema.STEPS)
    said = f"they know {known} steps of its tables, and {known + 2} are needed. Nothing was changed. Update them to the"
    assert said in str(refused.value)
    assert "a" == run(before)
    before.close()
    add(shared.open(MORE, LESS, needs=2), "b")


def test_a_server_that_has_just_opened_the_store_is_seen_by_one_that_starts_at_that_moment(
    shared: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = ServerLease.begin
    refused: list[str] = []

    def meanwhile(lease: ServerLease, url: str) -> None:
        """Between the transaction that has looked at the tables and the first word on the lease's own connection."""
        monkeypatch.setattr(ServerLease, "begin", begin)
        with pytest.raises(JobStoreError) as raised:
            shared.open(MORE, LESS, needs=2)
        refused.append(str(raised.value))
        begin(lease, url)

    monkeypatch.setattr(ServerLease, "begin", meanwhile)
    before = shared.open()

    assert "in a way that servers which use it now could not" in refused[0]
    add(before, "a")
    assert "a" == run(before)


def test_what_is_taken_away_one_version_after_nobody_uses_it_stops_no_server(shared: Versions) -> None:
    expanded = shared.open(MORE)
    add(expanded, "a")
    contracted = shared.open(MORE, LESS, needs=1)

    assert "a" == run(contracted)
    add(contracted, "b")
    assert "b" == run(expanded)
    add(shared.open(MORE), "c")
    with pytest.raises(JobStoreError, match="in a way that this version"):
        shared.open()


def test_a_store_of_the_last_version_that_refused_whatever_was_newer_goes_on_and_is_still_good_for_it(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    file, schema = tmp_path / DATABASE, postgres_server.schema()
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as released:
        for step in sqlite_schema.STEPS[: RELEASED["sqlite"]]:
            released.executescript(step.text)
        released.execute(f"PRAGMA user_version = {RELEASED['sqlite']}")
        released.execute(f"PRAGMA application_id = {sqlite_schema.APPLICATION_ID}")
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        for step in postgres_schema.STEPS[: RELEASED["postgres"]]:
            connection.execute(step.text.format(s=schema).encode())
        connection.execute(f"UPDATE {schema}.pillion_store SET version = {RELEASED['postgres']}".encode())
        connection.execute(f"INSERT INTO {schema}.servers VALUES ('old', now() + interval '1 hour')".encode())

    for store in (SqliteJobStore(tmp_path), PostgresJobStore(postgres_server.url, schema)):
        add(store, "a")
        assert "a" == run(store)
        store.close()

    # All that servers of that version look at.
    with contextlib.closing(sqlite3.connect(file)) as kept:
        assert (RELEASED["sqlite"],) == kept.execute("PRAGMA user_version").fetchone()
    assert [(RELEASED["postgres"],)] == postgres_server.query(f"SELECT version FROM {schema}.pillion_store")
    # As they say that they live.
    postgres_server.query(f"INSERT INTO {schema}.servers VALUES ('older', now())")
    assert [(RELEASED["postgres"],)] * 2 == postgres_server.query(f"SELECT knows FROM {schema}.servers")
