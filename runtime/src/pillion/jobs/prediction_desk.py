"""Taking prediction jobs and telling of them: what every transport asks, whatever form it is asked in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.authoring.names import same_task
from pillion.errors import ErrorCode, PillionError
from pillion.jobs.states import JobKind
from pillion.protocol.task_json import open_envelope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pillion.dataplane.call import WireProtocol
    from pillion.dataplane.tasks import TaskPlane
    from pillion.jobs.asked import Submitter
    from pillion.jobs.engine import JobEngine, JobResult
    from pillion.jobs.states import Job

__all__ = ["PredictionDesk"]

_KIND: Final = JobKind.PREDICTION


class PredictionDesk:
    """Takes calls of tasks that nobody waits for.

    Args:
        engine: has them done.
        plane: what answers tasks.
    """

    def __init__(self, engine: JobEngine, plane: TaskPlane) -> None:
        self.engine = engine
        self._plane = plane

    async def submit(
        self,
        name: str,
        read: Callable[[], Awaitable[tuple[bytes | memoryview, int]]],
        *,
        protocol: WireProtocol,
        request_id: str,
        idempotency_key: str,
        caller: Submitter,
    ) -> Job:
        """Take one: what is wrong with its arguments is said now, not when nobody listens.

        Args:
            name: of the task.
            read: gives the envelope, and the job's priority.
            protocol: that it came by, for the metrics.
            request_id: of the request.
            idempotency_key: as the caller gave it; empty for none.
            caller: whose key that is.

        Raises:
            PillionError: of the request; as :meth:`~pillion.jobs.engine.JobEngine.submit`.
        """
        model = ""
        try:
            body, priority = await read()
            envelope = open_envelope(body)
            task = self._plane.find(name, envelope.model)
            model = task.model
            envelope.arguments(task.signature)
        except PillionError as error:
            self._plane.refused(error, protocol, model)
            raise
        return await self.engine.submit(
            _KIND,
            model=task.model,
            task=task.signature.name,
            request=body,
            request_id=request_id,
            idempotency_key=idempotency_key,
            caller=caller,
            priority=priority,
        )

    async def get(self, identity: str, task: str = "") -> Job:
        """A job; of that task, where one is named.

        Raises:
            PillionError: ``NOT_FOUND``.
        """
        job = await self.engine.get(identity, _KIND)
        if task and same_task(job.task) != same_task(task):
            raise PillionError(
                ErrorCode.NOT_FOUND,
                f"prediction_id {job.id} is of the task {job.task!r}",
                field="prediction_id",
                remedy=f"GET /api/v1/task/{job.task.replace('_', '-')}/job?prediction_id={job.id}",
            )
        return job

    async def cancel(self, identity: str) -> Job:
        """Stop a job.

        Raises:
            PillionError: ``NOT_FOUND``.
        """
        return await self.engine.cancel(identity, _KIND)

    async def result(self, identity: str) -> JobResult:
        """What it gave.

        Raises:
            PillionError: as :meth:`~pillion.jobs.engine.JobEngine.result`.
        """
        return await self.engine.result(identity, _KIND)
