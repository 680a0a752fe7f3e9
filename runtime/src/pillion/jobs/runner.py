"""Who does a job: the seam for the data plane, processes on this machine, and Kubernetes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.jobs.states import Failure, Job

__all__ = ["Control", "Done", "Failed", "JobRunner", "Lost", "Outcome", "Postponed", "Stopped"]


class Done(msgspec.Struct, frozen=True):
    """It did what it was asked for."""

    content: bytes | memoryview
    """The result, as the answer to a direct call has it."""
    media_type: str = "application/json"
    headers: dict[str, str] = {}
    details: dict[str, str] = {}
    reason: str = ""
    """What went wrong when it was done."""


class Failed(msgspec.Struct, frozen=True):
    """It cannot be done."""

    failure: Failure


class Postponed(msgspec.Struct, frozen=True):
    """It could not be tried now."""

    reason: str
    seconds: float


class Lost(msgspec.Struct, frozen=True):
    """What ran it has gone without a word."""

    how: str
    """As a sentence says it."""
    got_on: bool = False
    """Whether it had made something that the next run begins with."""


class Stopped(msgspec.Struct, frozen=True):
    """It was told to stop, and has."""


Outcome = Done | Failed | Postponed | Lost | Stopped


class Control:
    """What a runner and the engine say to each other while a job runs. Event loop's thread only.

    Args:
        got_on: takes how far it is (None: it did not say), and whether it has made something that a next run begins
            with.
        changed: those who follow the job have something to read.
    """

    def __init__(self, got_on: Callable[[float | None, bool], None], changed: Callable[[], None]) -> None:
        self.stopping = asyncio.Event()
        """Somebody wants it to stop, or the server does."""
        self.got_on = got_on
        self.changed = changed


class JobRunner(Protocol):
    """Does jobs of one kind."""

    stops_at_once: bool
    """Whether a server that stops tells its jobs to stop at once; else they may end first, within the grace."""

    async def run(self, job: Job, request: bytes, control: Control) -> Outcome:
        """Do the job; returns when nothing of it runs any more.

        Raises nothing: whatever goes wrong is an outcome. Where it raises all the same, the job is ERRORED.
        """
        ...
