"""What whoever follows a job is told of its log."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from pillion.jobs.changes import Changes
from pillion.jobs.following import Became, Wrote, following
from pillion.jobs.log import JobLog
from pillion.jobs.states import Job, JobKind, JobState
from pillion.jobs.training_runner import LOG

if TYPE_CHECKING:
    from pathlib import Path

JOB = Job(id="a", kind=JobKind.TRAINING, model="m", task="t", submitted=0.0, state=JobState.RUNNING)
TEXT = "zwölf € 🐎"


def an_engine(folder: Path) -> Any:
    engine = SimpleNamespace(job=JOB, changes=Changes(), stopping=False, shared=False)
    engine.folders = SimpleNamespace(of=lambda _: folder)

    async def get(_identity: str, _kind: JobKind) -> Job:
        job: Job = engine.job
        return job

    engine.get = get
    return engine


def end(engine: Any) -> None:
    engine.job = msgspec.structs.replace(JOB, state=JobState.COMPLETED)
    engine.changes.tell("a")


async def test_a_character_whose_bytes_come_one_by_one_is_told_as_one(tmp_path: Path) -> None:
    engine, log = an_engine(tmp_path), JobLog(tmp_path, LOG, 1)
    told, place = "", 0
    events = following(engine, "a", JobKind.TRAINING, LOG, 0, 60.0)
    assert isinstance(await anext(events), Became)
    written = 0
    for byte in TEXT.encode():
        log.append(bytes([byte]))
        written += 1
        if TEXT.encode()[:written].decode(errors="ignore") == told:
            continue  # nothing to be told yet
        engine.changes.tell("a")
        async with asyncio.timeout(60):
            one = await anext(events)
        assert isinstance(one, Wrote)
        told += one.text.decode()
        place = one.place
        assert place == len(told.encode())
    end(engine)
    assert [True] == [one.job.ended async for one in events if isinstance(one, Became)]
    assert (TEXT, len(TEXT.encode())) == (told, place)


async def test_one_that_ends_in_another_segment_is_whole_and_one_without_an_end_is_told_at_the_end(
    tmp_path: Path,
) -> None:
    engine, log = an_engine(tmp_path), JobLog(tmp_path, LOG, 1)
    log.append(b"x" * 1024 + "🐎".encode()[:2])  # a segment
    log.append("🐎".encode()[2:] + b"y" + "🐎".encode()[:3])
    end(engine)
    found = [one async for one in following(engine, "a", JobKind.TRAINING, LOG, 0, 60.0)]
    text = b"".join(one.text for one in found if isinstance(one, Wrote))
    assert b"x" * 1024 + "🐎y".encode() + "🐎".encode()[:3] == text
    assert [b"x" * 1024, "🐎y".encode(), "🐎".encode()[:3]] == [one.text for one in found if isinstance(one, Wrote)]
    assert 1024 + 4 + 1 + 3 == [one.place for one in found if isinstance(one, Wrote)][-1]
