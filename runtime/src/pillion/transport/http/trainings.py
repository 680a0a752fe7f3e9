"""Trainings: ``POST /api/v1/{Task}{Class}Train`` and ``/management/trainings``. All of it is management."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.jobs.states import JobKind
from pillion.jobs.training_runner import LOG, METRICS
from pillion.management.audit import Who, audited
from pillion.transport.http.answer import Answer, json_answer
from pillion.transport.http.events import EVENT_STREAM
from pillion.transport.http.job_events import JobEvents
from pillion.transport.http.managed import admitted, let_in
from pillion.transport.http.posted import posted
from pillion.transport.http.routes import Route
from pillion.transport.job_documents import (
    LIST_FIELDS,
    filter_of,
    follows,
    identity_of,
    job_document,
    page_document,
    page_of,
    place_of,
    priority_of,
    query_of,
)
from pillion.transport.submitting import submitter_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target
    from pillion.transport.job_access import JobAccess

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["TrainingHandler"]

_ID: Final = "training_id"
_KIND: Final = JobKind.TRAINING
_WHAT: Final = "Training models, and looking at trainings,"


class TrainingHandler:
    """Trainings over HTTP."""

    def __init__(self, access: JobAccess, options: DispatchOptions) -> None:
        self._access = access
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
        access = self._options.management
        who = Who(caller.client(), request_id=caller.request_id)
        if target.route is Route.TRAIN:
            who = admitted(access, headers, "training", target.task, who, _WHAT)
            with audited("training", target.task, who):
                return await self._submit(target.task, raw, headers, receive, caller)
        if method == "DELETE":
            who = admitted(access, headers, "cancelling", raw.decode("latin-1"), who, _WHAT)
        else:
            let_in(access, headers, _WHAT)
        if target.route in (Route.TRAINING_LOGS, Route.TRAINING_METRICS):
            return await self._written(target, raw, headers, caller)
        keeper = self._access.keeper()
        query = query_of(raw, LIST_FIELDS | {_ID})
        if method != "DELETE" and _ID not in query:
            after, size = page_of(query)
            return json_answer(page_document(await keeper.page(filter_of(query, _KIND), after, size), "trainings"))
        identity = identity_of(query, _ID)
        if method == "DELETE":
            with audited("cancelling", identity, who):
                return json_answer(job_document(await keeper.cancel(identity)))
        return json_answer(job_document(await keeper.get(identity)))

    async def _submit(
        self, name: str, raw: bytes, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller
    ) -> Answer:
        keeper = self._access.keeper()
        self._access.training(name)  # before a large body is read for a training that is not there
        priority = priority_of(query_of(raw, {"priority"}))
        body, _ = await posted(headers, receive, self._options, caller)
        shown = headers.get(b"authorization"), headers.get(b"x-api-key")
        who = await submitter_of(self._options.callers, self._options.management, *shown)
        job = await keeper.submit(
            name,
            body,
            request_id=caller.request_id,
            idempotency_key=headers.get(b"idempotency-key", b"").decode("latin-1"),
            caller=who,
            priority=priority,
        )
        return json_answer({_ID: job.id, "model_name": job.model, "state": job.state.value}, status=202)

    async def _written(self, target: Target, raw: bytes, headers: Mapping[bytes, bytes], caller: Caller) -> Answer:
        """What a training has printed, or the numbers that it logged: what there is, or that and all that comes."""
        keeper = self._access.keeper()
        query = query_of(raw, {"follow", "after"})
        place = place_of(query, headers)
        name = LOG if target.route is Route.TRAINING_LOGS else METRICS
        if follows(query, headers):
            await keeper.get(target.task)
            events = JobEvents(keeper, target.task, name, place, caller.request_id)
            return Answer(b"", content_type=EVENT_STREAM, events=events)
        return _whole(await keeper.written(target.task, name, place), name)


def _whole(text: bytes, name: str) -> Answer:
    """All of it."""
    if name == LOG:
        return Answer(text, content_type=b"text/plain; charset=utf-8")
    lines = text[: text.rfind(b"\n") + 1].splitlines()  # the last may be being written
    return json_answer({"metrics": [msgspec.json.decode(line) for line in lines]})
