"""Replacing front workers one by one, so that what they serve is read again and no request meets a closed port."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from pillion.server.front.process import FrontProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.server.front.seat import Seat

__all__ = ["Crew", "Living", "Rolling"]

_log = logging.getLogger(__name__)

Living = tuple[FrontProcess, asyncio.Task[str]]
"""A process, and the task that ends with it and says how it ended."""


class Crew(Protocol):
    """What the supervisor does for it."""

    def begin_successor(self, seat: Seat, on_settled: Callable[[], None]) -> Living:
        """Start a process beside the one in the seat."""
        ...

    def seat_successor(self, seat: Seat, successor: Living) -> None:
        """Give it the seat, and end the process that had it."""
        ...

    def give_up_successor(self, process: FrontProcess) -> None:
        """It has ended and gets no seat."""
        ...


class Rolling:
    """See the module's docstring. Event loop's thread only.

    Args:
        seats: of the workers.
        crew: starts, seats and ends them.
        stop: set when the server stops.
    """

    def __init__(self, seats: Sequence[Seat], crew: Crew, stop: asyncio.Event) -> None:
        self._seats = seats
        self._crew = crew
        self._stop = stop
        self._again = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Replace all of them; asked while that is under way, once more when it has ended."""
        if self._task is not None and not self._task.done():
            self._again = True
        else:
            self._task = asyncio.create_task(self._roll())

    async def ended(self) -> None:
        """Wait for it: when the server stops it ends with the successor that it waits for."""
        if self._task is not None:
            await self._task

    async def _roll(self) -> None:
        again = True
        while again:
            self._again = False
            replaced = 0
            for seat in self._seats:
                if self._stop.is_set() or not await self._replace(seat):
                    break  # what the one cannot load the others could not either: they stay as they are
                replaced += 1
            _log.info("%d of %d front workers were replaced", replaced, len(self._seats))
            again = self._again and not self._stop.is_set()

    async def _replace(self, seat: Seat) -> bool:
        """Whether a new worker came up and has the place."""
        settled = asyncio.Event()
        process, life = self._crew.begin_successor(seat, settled.set)
        waiting = asyncio.create_task(settled.wait())
        await asyncio.wait((life, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if process.settled is not None and process.settled.ready and not life.done() and not self._stop.is_set():
            self._crew.seat_successor(seat, (process, life))
            return True
        reason = "" if process.settled is None else process.settled.reason
        if not self._stop.is_set():
            process.end(f"its models did not load: {reason}")
        how = await life
        self._crew.give_up_successor(process)
        if not self._stop.is_set():
            _log.error(
                "front worker %d stays as it is, for its successor did not come up: %s", seat.number, reason or how
            )
        return False
