"""Prediction jobs: calls of tasks that nobody waits for, through the data plane of every call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.file import File
from pillion.dataplane.call import Call, WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.jobs.runner import Done, Failed, Postponed, Stopped
from pillion.jobs.states import Failure
from pillion.protocol.task_file import file_headers, file_media_type
from pillion.protocol.task_json import encode_result, open_envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.dataplane.tasks import ServedTask, TaskPlane
    from pillion.jobs.runner import Control, Outcome
    from pillion.jobs.states import Job

__all__ = ["PredictionRunner"]

_LATER: Final = {ErrorCode.NOT_READY: 2.0, ErrorCode.QUEUE_FULL: 1.0, ErrorCode.DRAINING: 1.0}
"""Refusals that say nothing of the job, and seconds after which it is tried again where they do not say."""


class PredictionRunner:
    """See :class:`~pillion.jobs.runner.JobRunner`.

    Args:
        plane: what answers.
        seconds: that a job may take.
        most: bytes that a job may give.
        clock: the data plane's.
    """

    stops_at_once = False

    def __init__(self, plane: TaskPlane, seconds: float, most: int, clock: Callable[[], float]) -> None:
        self._plane = plane
        self._seconds = seconds
        self._most = most
        self._clock = clock

    async def run(self, job: Job, request: bytes, control: Control) -> Outcome:
        """Make the call."""
        if control.stopping.is_set():
            return Stopped()
        working = asyncio.create_task(self._call(job, request))
        told = asyncio.create_task(control.stopping.wait())
        try:
            await asyncio.wait((working, told), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
                return Stopped()
            return working.result()
        finally:
            told.cancel()

    async def _call(self, job: Job, request: bytes) -> Outcome:
        call = Call(
            WireProtocol.INTERNAL, job.request_id, self._clock() + self._seconds, client=lambda: "job", background=True
        )
        try:
            task = self._plane.find(job.task, job.model)
            arguments = open_envelope(request).arguments(task.signature)
            if task.signature.streams:
                return Done(await self._collected(task, arguments, call))
            value = (await self._plane.perform(task, arguments, call)).value
            if type(value) is File:
                self._check_size("result", value.size)
                return Done(await asyncio.to_thread(value.read), file_media_type(value), file_headers(value))
            result = encode_result(value)
            self._check_size("result", len(result))
            return Done(result)
        except PillionError as error:
            if error.code in _LATER:
                return Postponed(str(error), error.retry_after or _LATER[error.code])
            return Failed(Failure(error.code.value, str(error)))

    async def _collected(self, task: ServedTask, arguments: dict[str, Any], call: Call) -> bytes:
        """All items of a task that gives them one by one, which may never end."""
        stream = await self._plane.stream(task, arguments, call)
        try:
            found, size = [], 0
            while items := await stream.take():
                found += [encode_result(item) for item in items]
                size += sum(map(len, found[-len(items) :]))
                self._check_size("items", size)
            return b"[" + b",".join(found) + b"]"
        finally:
            stream.close()

    def _check_size(self, what: str, size: int) -> None:
        if size > self._most:
            raise PillionError(
                ErrorCode.MODEL_FAILED,
                f"the {what} of the task {'are' if what == 'items' else 'is'} more than {self._most} bytes"
                " (jobs.max_result_bytes)",
                remedy="ask for less, or raise the limit",
            )
