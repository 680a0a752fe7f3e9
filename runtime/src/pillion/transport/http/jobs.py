"""Prediction jobs: ``/api/v1/task/{task}/job`` and its results, and the list of all jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.names import same_task
from pillion.dataplane.call import WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.jobs.states import JobKind
from pillion.protocol.task_json import open_envelope
from pillion.transport.http.answer import Answer, json_answer
from pillion.transport.http.job_documents import (
    LIST_FIELDS,
    filter_of,
    identity_of,
    job_document,
    page_document,
    page_of,
    priority_of,
    query_of,
)
from pillion.transport.http.managed import let_in
from pillion.transport.http.posted import posted
from pillion.transport.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.tasks import TaskPlane
    from pillion.jobs.states import Job
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.job_access import JobAccess
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["JobHandler"]

_ID: Final = "prediction_id"
_KIND: Final = JobKind.PREDICTION


class JobHandler:
    """Prediction jobs over HTTP."""

    def __init__(self, access: JobAccess, plane: TaskPlane, options: DispatchOptions) -> None:
        self._access = access
        self._plane = plane
        self._options = options

    async def answer(
        self, target: Target, method: str, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller
    ) -> Answer:
        """One request.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        raw: bytes = caller.scope.get("query_string", b"")
        if target.route is Route.JOBS:
            return await self._list(raw, headers)
        if method == "POST":
            return await self._submit(target, raw, headers, receive, caller)
        identity = identity_of(query_of(raw, {_ID}), _ID)
        engine = self._access.engine(_KIND)
        job = await engine.get(identity, _KIND)
        _check_task(job, target.task)
        if target.route is Route.JOB_RESULTS:
            result = await engine.result(identity, _KIND)
            return Answer(
                result.content,
                content_type=result.media_type.encode("latin-1"),
                headers=[(name.encode(), value.encode("latin-1")) for name, value in result.headers.items()],
            )
        if method == "DELETE":
            job = await engine.cancel(identity, _KIND)
        return json_answer(job_document(job))

    async def _submit(
        self, target: Target, raw: bytes, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller
    ) -> Answer:
        engine = self._access.engine(_KIND)
        model = ""
        try:
            priority = priority_of(query_of(raw, {"priority"}))
            body, _ = await posted(headers, receive, self._options, caller)
            envelope = open_envelope(body)
            task = self._plane.find(target.task, envelope.model)
            model = task.model
            envelope.arguments(task.signature)  # what is wrong with them is said now, not when nobody listens
        except PillionError as error:
            self._plane.refused(error, WireProtocol.TASK, model)
            raise
        job = await engine.submit(
            _KIND,
            model=task.model,
            task=task.signature.name,
            request=body,
            request_id=caller.request_id,
            idempotency_key=headers.get(b"idempotency-key", b"").decode("latin-1"),
            priority=priority,
        )
        return json_answer({_ID: job.id, "model_id": job.model, "state": job.state.value}, status=202)

    async def _list(self, raw: bytes, headers: Mapping[bytes, bytes]) -> Answer:
        let_in(self._options.management, headers, "Looking at everybody's jobs")
        query = query_of(raw, LIST_FIELDS | {"kind", "job_id"})
        if "job_id" in query:
            return json_answer(job_document(await self._access.engine().get(identity_of(query, "job_id"))))
        kinds = query.get("kind", [])
        if kinds and kinds[0] not in set(JobKind):
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"kind: there is no such kind; there are: {', '.join(JobKind)}",
                field="kind",
            )
        after, size = page_of(query)
        which = filter_of(query, JobKind(kinds[0]) if kinds else None)
        return json_answer(page_document(await self._access.engine().page(which, after, size), "jobs"))


def _check_task(job: Job, task: str) -> None:
    if same_task(job.task) != same_task(task):
        raise PillionError(
            ErrorCode.NOT_FOUND,
            f"{_ID} {job.id} is of the task {job.task!r}",
            field=_ID,
            remedy=f"GET /api/v1/task/{job.task.replace('_', '-')}/job?{_ID}={job.id}",
        )
