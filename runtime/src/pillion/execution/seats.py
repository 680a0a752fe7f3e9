"""The places for worker processes, and what is decided about who holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pillion.execution.api import WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.execution.worker_link import WorkerLink

__all__ = ["Lifetime", "Seat", "WorkerPolicy"]


class Lifetime(msgspec.Struct, frozen=True):
    """When a worker has served long enough, for models whose code leaks."""

    calls: int | None = None
    """It has answered."""
    rss: int | None = None
    """Bytes that it holds."""

    def over(self, answered: int, rss: Callable[[], int]) -> str:
        """Why a worker is to be relieved, as the end of a sentence; empty where it is not."""
        if self.calls is not None and answered >= self.calls:
            return f"has answered {answered} calls"
        if self.rss is not None and (held := rss()) > self.rss:
            return f"holds {held >> 20} MiB"
        return ""


class WorkerPolicy(msgspec.Struct, frozen=True):
    """What to do about calls that went wrong, and about workers."""

    retry: bool
    """Whether the call that a worker had begun when it died is computed again, once, by another. A stream of which
    items have come is not."""
    grace_seconds: float
    """How long a worker may compute on for nobody before it is killed."""
    lifetime: Lifetime | None = None
    """None: workers stay."""


class Seat:
    """One place for a worker: whoever holds it is replaced when it dies. Event loop's thread only."""

    __slots__ = ("failures", "index", "leaving", "link", "recycled", "relieving", "starts", "stillborn")

    def __init__(self, index: int) -> None:
        self.index = index
        self.link: WorkerLink | None = None
        self.leaving: WorkerLink | None = None
        """One that has been relieved and ends its last calls."""
        self.relieving = False
        """Whether a successor is being started for one that still serves."""
        self.failures = 0
        """Starts in a row of workers that have answered nothing."""
        self.stillborn = 0
        """How many of them had not even a call to die over."""
        self.starts = 1
        self.recycled = 0
        """Starts for ones that had served long enough."""

    def died(self, *, served: bool, begun: bool) -> None:
        """Take note of how its holder ended.

        Args:
            served: whether it had answered a call.
            begun: whether it had begun one that was not answered: the request may be at fault.
        """
        self.failures = 0 if served else self.failures + 1
        self.stillborn = 0 if served or begun else self.stillborn + 1

    def links(self) -> list[WorkerLink]:
        """Those who hold calls."""
        return [link for link in (self.link, self.leaving) if link is not None]

    def let_go(self, link: WorkerLink) -> None:
        """It holds the seat no more."""
        if link is self.link:
            self.link = None
        elif link is self.leaving:
            self.leaving = None

    def state(self) -> WorkerState:
        """Its holder as it is now."""
        link = self.link
        if link is None:
            return WorkerState(self.index, 0, ready=False, starts=self.starts, rss=0, recycled=self.recycled)
        process = link.process
        calls = len(link.outstanding)
        return WorkerState(self.index, process.pid, True, self.starts, process.rss(), self.recycled, calls)
