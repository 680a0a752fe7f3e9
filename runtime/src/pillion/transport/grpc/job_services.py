"""``pillion.runtime.JobService`` and ``TrainingManagement``: what ``/api/v1/task/{task}/job`` and
``/management/trainings`` are over HTTP.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson
from google.protobuf import struct_pb2

from pillion.authoring.values import ListOf
from pillion.dataplane.call import WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.jobs.following import Became, Wrote, following
from pillion.jobs.prediction_desk import PredictionDesk
from pillion.jobs.states import JobKind
from pillion.jobs.training_runner import LOG, METRICS
from pillion.management.audit import audited
from pillion.protocol.protos import runtime_pb2 as pb
from pillion.protocol.struct_numbers import check_exact
from pillion.protocol.task_message import from_value
from pillion.transport.authentication import AUTHORIZATION, KEY_HEADER
from pillion.transport.grpc.runtime_calls import filled
from pillion.transport.job_documents import filter_of, job_document, page_document, page_of, priority_of
from pillion.transport.job_listing import any_page
from pillion.transport.submitting import submitter_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from google.protobuf.message import Message

    from pillion.dataplane.tasks import TaskPlane
    from pillion.jobs.states import Job
    from pillion.jobs.store import JobFilter, Page
    from pillion.transport.grpc.runtime_calls import Rpc, RuntimeCalls
    from pillion.transport.job_access import JobAccess

__all__ = ["JobMethods", "TrainingMethods", "job_message", "once", "required", "start_training"]

_PIECE: Final = 1 << 20
_BEAT_SECONDS: Final = 15.0
_EXACTLY: Final = "send them as parameters_json, or by the training service of the project's domain"
_TRAININGS: Final = "Training models, and looking at trainings,"


class JobMethods:
    """Prediction jobs."""

    def __init__(self, access: JobAccess, plane: TaskPlane) -> None:
        self._access = access
        self._plane = plane

    def add_to(self, calls: RuntimeCalls) -> None:
        """Offer every method."""
        calls.unary("SubmitJob", pb.SubmitJobRequest, self._submit)
        calls.unary("GetJob", pb.JobRequest, self._get)
        calls.unary("ListJobs", pb.ListJobsRequest, self._list)
        calls.unary("CancelJob", pb.JobRequest, self._cancel)
        calls.stream("GetJobResult", pb.JobRequest, self._result)
        calls.stream("FollowJob", pb.JobRequest, self._follow)

    def _desk(self) -> PredictionDesk:
        return PredictionDesk(self._access.engine(JobKind.PREDICTION), self._plane)

    async def _submit(self, request: pb.SubmitJobRequest, rpc: Rpc) -> Message:
        async def read() -> tuple[bytes, int]:
            return request.body, priority_of({"priority": [str(request.priority)]})

        task, who = required(request.task, "task"), await once(rpc)
        job = await self._desk().submit(task, read, protocol=WireProtocol.GRPC, **who)
        return job_message(job)

    async def _get(self, request: pb.JobRequest, _: Rpc) -> Message:
        return job_message(await self._desk().get(_prediction(request)))

    async def _list(self, request: pb.ListJobsRequest, rpc: Rpc) -> Message:
        rpc.let_in("Looking at everybody's jobs")
        kind = _kind(request.kind) if request.kind else None
        return await _page(request, kind, functools.partial(any_page, self._access))

    async def _cancel(self, request: pb.JobRequest, _: Rpc) -> Message:
        return job_message(await self._desk().cancel(_prediction(request)))

    async def _result(self, request: pb.JobRequest, _: Rpc) -> AsyncGenerator[Message]:
        result = await self._desk().result(_prediction(request))
        content = memoryview(result.content)
        yield pb.JobResult(content=bytes(content[:_PIECE]), media_type=result.media_type, headers=result.headers)
        for start in range(_PIECE, len(content), _PIECE):
            yield pb.JobResult(content=bytes(content[start : start + _PIECE]))

    async def _follow(self, request: pb.JobRequest, _: Rpc) -> AsyncGenerator[Message]:
        desk, identity = self._desk(), _prediction(request)
        await desk.get(identity)
        told = following(desk.engine, identity, JobKind.PREDICTION, None, 0, _BEAT_SECONDS)
        async with contextlib.aclosing(told):
            async for one in told:
                if isinstance(one, Became):
                    yield job_message(one.job)


class TrainingMethods:
    """Trainings. All of it is management."""

    def __init__(self, access: JobAccess) -> None:
        self._access = access

    def add_to(self, calls: RuntimeCalls) -> None:
        """Offer every method."""
        calls.unary("StartTraining", pb.StartTrainingRequest, self._start)
        calls.unary("GetTrainingStatus", pb.TrainingRequest, self._get)
        calls.unary("ListTrainings", pb.ListJobsRequest, self._list)
        calls.unary("CancelTraining", pb.TrainingRequest, self._cancel)
        calls.stream("FollowTraining", pb.FollowTrainingRequest, self._follow)

    async def _start(self, request: pb.StartTrainingRequest, rpc: Rpc) -> Message:
        def read() -> tuple[dict[str, object], int]:
            parameters = _parameters(request, self._access)
            body: dict[str, object] = {"model_name": request.model_name, "parameters": parameters}
            body |= {"output_path": request.output_path} if request.output_path else {}
            body |= {"deploy": True} if request.deploy else {}
            return body, priority_of({"priority": [str(request.priority)]})

        return await start_training(self._access, rpc, request.training, read)

    async def _get(self, request: pb.TrainingRequest, rpc: Rpc) -> Message:
        rpc.let_in(_TRAININGS)
        keeper = self._access.keeper()
        return job_message(await keeper.get(required(request.training_id, "training_id")))

    async def _list(self, request: pb.ListJobsRequest, rpc: Rpc) -> Message:
        rpc.let_in(_TRAININGS)
        if request.kind and _kind(request.kind) is not JobKind.TRAINING:
            raise _wrong("kind", "trainings are of the kind training")
        return await _page(request, JobKind.TRAINING, self._access.keeper().page)

    async def _cancel(self, request: pb.TrainingRequest, rpc: Rpc) -> Message:
        identity = request.training_id
        with audited("cancelling", identity, rpc.admitted("cancelling", identity, _TRAININGS)):
            keeper = self._access.keeper()
            return job_message(await keeper.cancel(required(identity, "training_id")))

    async def _follow(self, request: pb.FollowTrainingRequest, rpc: Rpc) -> AsyncGenerator[Message]:
        rpc.let_in(_TRAININGS)
        keeper = self._access.keeper()
        identity = required(request.training_id, "training_id")
        if request.after < 0:
            raise _wrong("after", "write a whole number from 0")
        await keeper.get(identity)
        name, place = METRICS if request.what else LOG, request.after
        told = keeper.following(identity, name, place, _BEAT_SECONDS)
        async with contextlib.aclosing(told):
            async for one in told:
                match one:
                    case Wrote(text, behind) if name == LOG:
                        place = behind
                        yield pb.TrainingEvent(place=place, log=text.decode(errors="replace"))
                    case Wrote(text, behind):
                        for line in text.splitlines(keepends=True):
                            place += len(line)
                            numbers = filled(msgspec.json.decode(line), struct_pb2.Struct())
                            yield pb.TrainingEvent(place=place, metrics=numbers)
                        place = behind
                    case Became(job):
                        yield pb.TrainingEvent(place=place, job=job_message(job))
                        if request.stop_at_present:
                            return


def _parameters(request: pb.StartTrainingRequest, access: JobAccess) -> dict[str, Any]:
    """What a training is given, by whichever field has it.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: both have, or one has what cannot be taken.
    """
    if request.parameters_json:
        if request.parameters.fields:
            raise _wrong("parameters_json", "parameters are there as well; give one of them")
        try:
            document = orjson.loads(request.parameters_json)
        except orjson.JSONDecodeError as error:
            raise _wrong("parameters_json", f"is not valid JSON: {error}") from None
        if not isinstance(document, dict):
            raise _wrong("parameters_json", "should be a JSON object")
        return document
    given: dict[str, Any] = from_value(struct_pb2.Value(struct_value=request.parameters))
    signature = access.training(required(request.training, "training")).signature
    declared = {one.name: one.type for one in signature.plain}
    declared |= {one.name: ListOf(one.item) for one in signature.data}
    for name in declared.keys() & given.keys():
        check_exact(given[name], declared[name], f"parameters.{name}", _EXACTLY)
    return given


async def start_training(
    access: JobAccess, rpc: Rpc, name: str, read: Callable[[], tuple[dict[str, Any], int]]
) -> pb.Job:
    """Begin a training for whoever may; ``read`` gives the body and the priority.

    Raises:
        PillionError: it cannot be begun; the log is told, too.
    """
    with audited("training", name, rpc.admitted("training", name, _TRAININGS)):
        body, priority = read()
        # A map has another order in each process: sorted, a request that comes again is known again by its key.
        sent = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        job = await access.keeper().submit(required(name, "training"), sent, priority=priority, **await once(rpc))
        return job_message(job)


def job_message(job: Job) -> pb.Job:
    """A job as HTTP has it."""
    return filled(job_document(job), pb.Job())


async def _page(
    request: pb.ListJobsRequest,
    kind: JobKind | None,
    listed: Callable[[JobFilter, int | None, int], Awaitable[Page]],
) -> pb.JobPage:
    query: dict[str, list[str]] = {
        "state": [pb.JobState.Name(state) for state in request.state],
        "model_id": [request.model_id],
        "task": [request.task],
        "since": [request.since.ToJsonString()] if request.HasField("since") else [],
        "until": [request.until.ToJsonString()] if request.HasField("until") else [],
        "limit": [str(request.limit)] if request.limit else [],
        "after": [request.after],
    }
    after, size = page_of(query)
    page = await listed(filter_of(query, kind), after, size)
    document = page_document(page, "jobs")
    return filled(document, pb.JobPage())


async def once(rpc: Rpc) -> Mapping[str, Any]:
    """Who asks, and by which key a job is known to have come before.

    Raises:
        PillionError: they may not call any more.
    """
    metadata = rpc.metadata()
    return {
        "request_id": rpc.request_id,
        "idempotency_key": metadata.get("idempotency-key", b"").decode("latin-1"),
        "caller": await submitter_of(rpc.callers, rpc.access, metadata.get(AUTHORIZATION), metadata.get(KEY_HEADER)),
    }


def _prediction(request: pb.JobRequest) -> str:
    return required(request.prediction_id, "prediction_id")


def required(value: str, field: str) -> str:
    """A field of a message that has to be there.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: it is empty.
    """
    if not value:
        raise _wrong(field, "is missing")
    return value


def _kind(text: str) -> JobKind:
    try:
        return JobKind(text)
    except ValueError:
        raise _wrong("kind", f"there is no such kind; there are: {', '.join(JobKind)}") from None


def _wrong(field: str, text: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {text}", field=field)
