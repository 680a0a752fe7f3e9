"""Following a job: what it writes and what becomes of it, as it happens; each transport tells it in its own form."""

from __future__ import annotations

import asyncio
import codecs
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.log import read_log
from pillion.jobs.training_runner import LOG

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from pillion.jobs.engine import JobEngine
    from pillion.jobs.states import Job, JobKind

__all__ = ["Beat", "Became", "Wrote", "following"]

_SHARED_SECONDS: Final = 1.0
"""Between two looks at a job that another server may change, of which nobody is told."""


class Wrote(msgspec.Struct, frozen=True):
    """What a training has printed, in whole characters while it runs, or lines of numbers, each whole."""

    text: bytes
    place: int
    """Behind it."""


class Became(msgspec.Struct, frozen=True):
    """The job, where it is not as it was told last. The last one has ended, unless the server stops."""

    job: Job


class Beat(msgspec.Struct, frozen=True):
    """Nothing happened for a while."""


async def following(
    engine: JobEngine, identity: str, kind: JobKind, name: str | None, place: int, beat: float
) -> AsyncGenerator[Wrote | Became | Beat]:
    """What was written so far, then what comes, then the end.

    Args:
        engine: has the job.
        identity: of the job.
        kind: of the job.
        name: of what it writes, :data:`LOG` or numbers; None for nothing but the job itself.
        place: where in that to begin.
        beat: seconds without anything else between two beats.

    Raises:
        PillionError: ``NOT_FOUND``; it may have been purged meanwhile.
    """
    folder = None if name is None else engine.folders.of(identity)
    shown = None
    quiet = 0.0
    with engine.changes.following(identity) as changed:
        while True:
            changed.clear()
            # Looked at before the text is read: what was written before the end is read after it.
            try:
                job = await engine.get(identity, kind)
            except PillionError as error:
                if shown is None or error.code is not ErrorCode.DRAINING:
                    raise
                return  # nothing becomes of it any more on this server
            while folder is not None and name is not None:
                whole, place = _whole(folder, name, place, ended=job.ended)
                if not whole:
                    break
                quiet = 0.0
                yield Wrote(whole, place)
            if job != shown or job.ended:
                shown = job
                quiet = 0.0
                yield Became(job)
            if job.ended or engine.stopping:
                return
            while not changed.is_set():
                wait = min(_SHARED_SECONDS, beat) if engine.shared else beat
                try:
                    await asyncio.wait_for(changed.wait(), wait)
                except TimeoutError:
                    quiet += wait
                    if quiet >= beat:
                        quiet = 0.0
                        yield Beat()
                    if engine.shared:
                        break


def _whole(folder: Path, name: str, place: int, *, ended: bool) -> tuple[bytes, int]:
    """What is whole of what was written since a place, and the place behind it. Pieces of a log begin and end anywhere,
    also inside of a character.
    """
    text, behind = read_log(folder, name, place)
    if name != LOG:
        whole = text[: text.rfind(b"\n") + 1]
    else:
        whole = _characters(text)
        if text and not whole:  # the rest may be in the next segment
            more, behind = read_log(folder, name, behind)
            text += more
            whole = _characters(text)
            if ended and not more:
                whole = text
    return whole, behind - len(text) + len(whole)


def _characters(text: bytes) -> bytes:
    """The text up to a character whose last bytes are not there."""
    _, size = codecs.utf_8_decode(text, "replace", False)
    return text[:size]
