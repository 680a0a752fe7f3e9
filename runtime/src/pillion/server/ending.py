"""How a server ends what is in progress: within its grace, or at once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pillion.applications.group import Applications
    from pillion.dataplane.plane import DataPlane
    from pillion.server.doors import Doors
    from pillion.server.jobs import ServerJobs
    from pillion.transport.grpc.server import GrpcServer

__all__ = ["Ending"]

_TO_SAY_SO: Final = 0.05
"""Seconds for the errors that end open streams to leave, where nothing else is waited for."""


class Ending:
    """Event loop's thread only.

    Args:
        grace: seconds that requests in progress may take.
        doors: where they came in.
        grpc: as above.
        plane: whose streams are ended with an error before they are cut.
        jobs: whose runs are put back.
        applications: whose requests are ended as those of models are.
    """

    def __init__(
        self,
        grace: float,
        doors: Doors,
        grpc: GrpcServer,
        plane: DataPlane,
        jobs: ServerJobs,
        applications: Applications | None,
    ) -> None:
        self._grace = grace
        self._doors = doors
        self._grpc = grpc
        self._plane = plane
        self._jobs = jobs
        self._applications = applications
        self._deadline = 0.0
        self.asked = asyncio.Event()
        """Whether the server is to stop."""
        self.cut = asyncio.Event()
        """Whether it is to stop at once."""

    def ask(self, grace: float | None = None) -> None:
        """Stop soon; asked for a second time, or with a grace of 0, at once."""
        if self.asked.is_set() or grace == 0:
            self.cut.set()
        if grace is not None:
            self._grace = min(self._grace, grace) if self.asked.is_set() else grace
        self.asked.set()

    @property
    def left(self) -> float:
        """Seconds of the grace that are left, once requests are being ended."""
        return 0.0 if self.cut.is_set() else max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def end_requests(self) -> int:
        """Take no more, let those in progress end, and cut what does not; how many connections were cut."""
        applications = self._applications
        self._deadline = asyncio.get_running_loop().time() + self._grace
        if applications is not None:
            applications.close_conversations()
        kept = 0.0 if applications is None else applications.to_end(self._grace)
        grace = 0.0 if self.cut.is_set() else self._grace - kept
        faster = asyncio.create_task(self._cut_grpc())
        ending = asyncio.create_task(self._end_streams(self._deadline - kept))
        if self.cut.is_set():
            await asyncio.sleep(_TO_SAY_SO)
        cut, _, _ = await asyncio.gather(
            self._doors.close_http(self._deadline - kept, self.cut),
            self._grpc.stop(grace),
            self._jobs.stop(grace),
        )
        if applications is not None:
            await applications.stop(self.left, kept)
        faster.cancel()
        ending.cancel()
        return cut

    async def _end_streams(self, deadline: float) -> None:
        """Before connections are cut, end open streams with an error, which is no silence that looks like an end."""
        left = deadline - asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.cut.wait(), max(0.0, left - min(1.0, left / 10)))
        self._end_answers()

    def _end_answers(self) -> None:
        self._plane.end_streams()
        if self._applications is not None:
            self._applications.end_exchanges()

    async def _cut_grpc(self) -> None:
        await self.cut.wait()
        self._end_answers()
        await asyncio.sleep(_TO_SAY_SO)
        await self._grpc.stop(0)
