"""Prediction jobs: ``/api/v1/task/{task}/job`` and its results, and the list of all jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from pillion.dataplane.call import WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.jobs.prediction_desk import PredictionDesk
from pillion.jobs.states import JobKind
from pillion.transport.http.answer import Answer, json_answer
from pillion.transport.http.managed import let_in
from pillion.transport.http.posted import FORM, posted
from pillion.transport.http.routes import Route
from pillion.transport.job_documents import (
    LIST_FIELDS,
    filter_of,
    identity_of,
    job_document,
    page_document,
    page_of,
    priority_of,
    query_of,
)
from pillion.transport.job_listing import any_job, any_page
from pillion.transport.submitting import submitter_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.tasks import TaskPlane
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target
    from pillion.transport.job_access import JobAccess

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["JobHandler"]

_ID: Final = "prediction_id"


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
        desk = self._desk()
        job = await desk.get(identity, target.task)
        if target.route is Route.JOB_RESULTS:
            result = await desk.result(identity)
            return Answer(
                result.content,
                content_type=result.media_type.encode("latin-1"),
                headers=[(name.encode(), value.encode("latin-1")) for name, value in result.headers.items()],
            )
        if method == "DELETE":
            job = await desk.cancel(identity)
        return json_answer(job_document(job))

    def _desk(self) -> PredictionDesk:
        return PredictionDesk(self._access.engine(JobKind.PREDICTION), self._plane)

    async def _submit(
        self, target: Target, raw: bytes, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller
    ) -> Answer:
        async def read() -> tuple[bytes | memoryview, int]:
            priority = priority_of(query_of(raw, {"priority"}))
            return await self._body(target, headers, receive, caller), priority

        shown = headers.get(b"authorization"), headers.get(b"x-api-key")
        who = await submitter_of(self._options.callers, self._options.management, *shown)
        job = await self._desk().submit(
            target.task,
            read,
            protocol=WireProtocol.TASK,
            request_id=caller.request_id,
            idempotency_key=headers.get(b"idempotency-key", b"").decode("latin-1"),
            caller=who,
        )
        return json_answer({_ID: job.id, "model_id": job.model, "state": job.state.value}, status=202)

    async def _body(
        self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller
    ) -> bytes | memoryview:
        """What the direct call takes, as JSON: of a form as well, whose files would be gone when the job runs."""
        if headers.get(b"content-type", b"")[: len(FORM)].lower() != FORM:
            body, _ = await posted(headers, receive, self._options, caller)
            return body
        from pillion.protocol.task_form import form_body, form_model  # noqa: PLC0415 - most requests are JSON
        from pillion.transport.http.form import read_form  # noqa: PLC0415 - as above

        parts, _ = await read_form(headers, receive, self._options, caller)
        task = self._plane.find(target.task, form_model(parts))
        return await asyncio.to_thread(form_body, parts, task.signature)

    async def _list(self, raw: bytes, headers: Mapping[bytes, bytes]) -> Answer:
        let_in(self._options.management, headers, "Looking at everybody's jobs")
        query = query_of(raw, LIST_FIELDS | {"kind", "job_id"})
        if "job_id" in query:
            return json_answer(job_document(await any_job(self._access, identity_of(query, "job_id"))))
        kinds = query.get("kind", [])
        if kinds and kinds[0] not in set(JobKind):
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                f"kind: there is no such kind; there are: {', '.join(JobKind)}",
                field="kind",
            )
        after, size = page_of(query)
        which = filter_of(query, JobKind(kinds[0]) if kinds else None)
        return json_answer(page_document(await any_page(self._access, which, after, size), "jobs"))
