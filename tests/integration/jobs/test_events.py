"""Following a job for which nothing happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pillion.jobs import following as followed
from pillion.jobs.engine import JobEngine
from pillion.jobs.following import Beat, Became, following
from pillion.jobs.postgres_store import PostgresJobStore
from pillion.jobs.runner import Done, Stopped
from pillion.jobs.settings import JobSettings
from pillion.jobs.sqlite_store import SqliteJobStore
from pillion.jobs.states import Job, JobKind
from pillion.jobs.training_keeper import LocalTrainings
from pillion.transport.http import job_events
from pillion.transport.http.job_events import JobEvents

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.jobs.runner import Control, Outcome
    from pillion.jobs.training import TrainingDesk
    from tests.postgres import Postgres

KIND = JobKind.TRAINING


def _no_desk() -> TrainingDesk:
    raise AssertionError("nobody hands in a training")


class _Waits:
    """Runs until it may end."""

    stops_at_once = True

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def run(self, _job: Job, _request: bytes, _control: Control) -> Outcome:
        await self.may_end.wait()
        return Done(b"{}")


class _Stops:
    """Runs until it is told to stop."""

    stops_at_once = True

    async def run(self, _job: Job, _request: bytes, control: Control) -> Outcome:
        await control.stopping.wait()
        return Stopped()


async def test_a_reader_hears_from_the_server_while_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_events, "_BEAT_SECONDS", 0.05)
    waits = _Waits()
    engine = JobEngine(JobSettings(tmp_path, tmp_path), lambda: SqliteJobStore(tmp_path), {KIND: waits})
    await engine.open()
    engine.begin()
    try:
        job = await engine.submit(KIND, model="m", task="t", request=b"{}")
        chunks: list[bytes] = []
        async with asyncio.timeout(60):
            async for chunk in JobEvents(LocalTrainings(engine, _no_desk), job.id, "log", 0, "r").chunks():
                chunks.append(chunk)
                if chunks[-3:] == [b": still here\n\n"] * 3:
                    waits.may_end.set()
    finally:
        await engine.stop(1.0)

    assert chunks[-1].startswith(b"event: end")


async def test_it_does_also_where_others_may_change_the_job(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "_SHARED_SECONDS", 0.02)
    waits, kind = _Waits(), JobKind.PREDICTION
    store = PostgresJobStore(postgres_server.url, postgres_server.schema())
    engine = JobEngine(JobSettings(None, tmp_path), lambda: store, {kind: waits})
    await engine.open()
    engine.begin()
    beats = 0
    try:
        job = await engine.submit(kind, model="m", task="t", request=b"{}")
        async with asyncio.timeout(60):
            async for one in following(engine, job.id, kind, None, 0, 0.1):
                beats += isinstance(one, Beat)
                if beats == 3:
                    waits.may_end.set()
    finally:
        waits.may_end.set()
        await engine.stop(1.0)

    assert beats >= 3


@pytest.mark.parametrize("runs", [True, False], ids=["runs", "waits"])
async def test_who_follows_a_job_is_let_go_without_an_error_when_its_server_ends(tmp_path: Path, *, runs: bool) -> None:
    engine = JobEngine(JobSettings(tmp_path, tmp_path), lambda: SqliteJobStore(tmp_path), {KIND: _Stops()})
    await engine.open()
    if runs:
        engine.begin()
    job = await engine.submit(KIND, model="m", task="t", request=b"{}")
    told: list[str] = []
    heard = asyncio.Event()

    async def follow() -> None:
        async for one in following(engine, job.id, KIND, None, 0, 0.05):
            if isinstance(one, Became):
                told.append(one.job.state.value)
            elif told[-1] == ("RUNNING" if runs else "QUEUED"):
                heard.set()

    follower = asyncio.create_task(follow())
    async with asyncio.timeout(60):
        await heard.wait()
        await engine.stop(0.1)
        await follower

    assert "QUEUED" == told[-1]
