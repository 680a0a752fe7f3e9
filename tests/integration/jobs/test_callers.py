"""What a store keeps of who handed a job in: nothing that a list of keys and passwords could be tried on."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from pillion.jobs.asked import IdempotencyKey, Submitter
from pillion.jobs.engine import JobEngine
from pillion.jobs.runner import Done
from pillion.jobs.settings import JobSettings
from pillion.jobs.sqlite_store import DATABASE, SqliteJobStore
from pillion.jobs.states import JobKind
from pillion.transport.authentication import shown_digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pillion.jobs.runner import Control, Outcome
    from pillion.jobs.states import Job

KIND = JobKind.PREDICTION
SHOWN = shown_digest(b"Basic dXNlcjpoYXNhcGFzc3dvcmQ=", None)
CALLER = Submitter(SHOWN, SHOWN)
OTHER = Submitter(*[shown_digest(None, b"other")] * 2)
NOBODY = Submitter()


class _Answers:
    stops_at_once = True

    async def run(self, _job: Job, _request: bytes, _control: Control) -> Outcome:
        return Done(b"{}")


@contextlib.asynccontextmanager
async def engine_of(folder: Path) -> AsyncIterator[JobEngine]:
    engine = JobEngine(JobSettings(folder, folder), lambda: SqliteJobStore(folder), {KIND: _Answers()})
    await engine.open()
    try:
        yield engine
    finally:
        await engine.stop(1.0)


def written(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob(f"{DATABASE}*"))


async def handed_in(engine: JobEngine, caller: Submitter = CALLER) -> str:
    job = await engine.submit(KIND, model="m", task="t", request=b"{}", idempotency_key="report-7", caller=caller)
    return job.id


async def test_a_caller_is_known_again_after_a_restart_by_a_name_that_only_this_store_can_make(tmp_path: Path) -> None:
    async with engine_of(tmp_path) as engine:
        job = await handed_in(engine)
        assert job not in {await handed_in(engine, NOBODY), await handed_in(engine, OTHER)}
    content = written(tmp_path)
    assert (True, False) == (b"report-7" in content, SHOWN.encode() in content)
    async with engine_of(tmp_path) as engine:
        assert job == await handed_in(engine)


async def test_a_retry_of_a_job_of_the_version_before_is_known_again(tmp_path: Path) -> None:
    async with engine_of(tmp_path) as engine:
        job = await handed_in(engine)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as before:
        before.execute("UPDATE jobs SET idempotency_key = ?", (f"{SHOWN}\x1freport-7",))
        before.execute("DROP TABLE secrets")
        before.execute("DROP TABLE store")
        before.execute("PRAGMA user_version = 3")

    async with engine_of(tmp_path) as engine:
        assert job == await handed_in(engine)
        assert job != await handed_in(engine, OTHER)


async def test_a_caller_whose_token_was_renewed_is_the_same_one_and_keeps_what_it_handed_in_by_the_old_one(
    tmp_path: Path,
) -> None:
    old, new, stranger = (shown_digest(f"Bearer {text}".encode(), None) for text in ("old", "new", "stranger"))
    async with engine_of(tmp_path) as engine:
        before = await handed_in(engine, Submitter(old, old))  # as the version before called them
        assert before == await handed_in(engine, Submitter("user:shop", old))
        assert before != await handed_in(engine, Submitter("user:shop", new))
    async with engine_of(tmp_path / "fresh") as engine:
        job = await handed_in(engine, Submitter("user:shop", old))
        assert job == await handed_in(engine, Submitter("user:shop", new))
        assert job not in {await handed_in(engine, Submitter(name, stranger)) for name in ("user:bank", "key:shop")}


def test_no_name_makes_the_key_of_another_caller() -> None:
    keys = [
        IdempotencyKey(Submitter(name, shown), key).kept(b"secret")
        for name, shown in (("user:a", "x"), ("user:b", "x"), ("", ""), ("x", "x"))
        for key in ("", "k", "l")
    ]
    assert len(set(keys)) == 9, "those without a key have none, all others differ"
