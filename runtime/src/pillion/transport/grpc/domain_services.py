"""``<Domain>JobService`` and ``<Domain>TrainingService``: jobs and trainings whose messages have types.

They are the jobs of ``pillion.runtime.JobService``, ``TrainingManagement`` and HTTP: kept by the same engine, and
looked at, followed and cancelled there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from pillion.dataplane.call import WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.jobs.prediction_desk import PredictionDesk
from pillion.jobs.states import JobKind
from pillion.protocol.job_message import file_value, job_envelope, json_value, training_document
from pillion.protocol.protos import runtime_pb2 as pb
from pillion.protocol.task_message import response_of
from pillion.transport.grpc.job_services import job_message, once, required, start_training
from pillion.transport.grpc.observation import observer_of
from pillion.transport.grpc.runtime_calls import RuntimeCalls
from pillion.transport.grpc.task_services import model_of
from pillion.transport.job_documents import priority_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import grpc
    from google.protobuf.message import Message

    from pillion.protocol.domain_schema import DomainSchema, JobMethods, TrainMethod
    from pillion.transport.grpc.options import GrpcOptions
    from pillion.transport.grpc.runtime_calls import Rpc
    from pillion.transport.grpc.runtime_services import RuntimeParts
    from pillion.transport.grpc.task_services import TaskService

__all__ = ["domain_handlers"]

_PRIORITY: Final = "priority"


def domain_handlers(
    service: TaskService, domain: DomainSchema, runtime: RuntimeParts, options: GrpcOptions
) -> dict[str, grpc.GenericRpcHandler]:
    """What answers, by the names of the services."""
    observer = observer_of(options)
    handlers: dict[str, grpc.GenericRpcHandler] = {}
    if domain.jobs:
        calls = RuntimeCalls(domain.job_service, options.management, observer, options.api_key)
        for methods in domain.jobs:
            _TypedJobs(runtime, service, methods).add_to(calls)
        handlers[domain.job_service] = calls.handler()
    if domain.trainings:
        calls = RuntimeCalls(domain.training_service, options.management, observer, options.api_key)
        for method in domain.trainings:
            calls.unary(method.signature.name, method.request, partial(_train, runtime, method))
        handlers[domain.training_service] = calls.handler()
    return handlers


class _TypedJobs:
    """The jobs of one task."""

    def __init__(self, runtime: RuntimeParts, service: TaskService, methods: JobMethods) -> None:
        self._runtime = runtime
        self._methods = methods
        self._task = methods.task
        self._contract = service.contracts[methods.task.task]
        self._models = service.models[methods.task.task]

    def add_to(self, calls: RuntimeCalls) -> None:
        """Offer both methods."""
        calls.unary(self._methods.submit, self._task.request, self._submit)
        if self._task.streams_out:
            calls.stream(self._methods.result, pb.JobRequest, self._items)
        else:
            calls.unary(self._methods.result, pb.JobRequest, self._result)

    def _desk(self) -> PredictionDesk:
        return PredictionDesk(self._runtime.jobs.engine(JobKind.PREDICTION), self._runtime.tasks)

    async def _submit(self, request: Message, rpc: Rpc) -> Message:
        async def read() -> tuple[bytes, int]:
            return job_envelope(request, self._contract, model_of(self._models, rpc.context)), _priority(rpc)

        who = await once(rpc)
        return job_message(await self._desk().submit(self._task.task, read, protocol=WireProtocol.GRPC, **who))

    async def _result(self, request: pb.JobRequest, _: Rpc) -> Message:
        content, file = await self._given(request)
        return self._message(request, file if file is not None else orjson.loads(content), json=file is None)

    async def _items(self, request: pb.JobRequest, _: Rpc) -> AsyncGenerator[Message]:
        content, _file = await self._given(request)
        for item in orjson.loads(content):
            yield self._message(request, item, json=True)

    async def _given(self, request: pb.JobRequest) -> tuple[bytes, Any]:
        identity = required(request.prediction_id, "prediction_id")
        desk = self._desk()
        await desk.get(identity, self._task.task)
        result = await desk.result(identity)
        return result.content, file_value(result.content, result.media_type, result.headers)

    def _message(self, request: pb.JobRequest, value: Any, *, json: bool) -> Message:  # noqa: ANN401 - what a job gave
        try:
            plain = json_value(value, self._contract.returns) if json else value
            return response_of(self._task, self._contract, plain)
        except ValueError as error:
            raise PillionError(
                ErrorCode.CONFLICT,
                f"the result of {request.prediction_id} does not fit the task as it is now: {error}",
                remedy="pillion.runtime.JobService/GetJobResult gives it as it was made",
            ) from None


async def _train(runtime: RuntimeParts, method: TrainMethod, request: Message, rpc: Rpc) -> Message:
    def read() -> tuple[dict[str, Any], int]:
        return training_document(request, method.signature), _priority(rpc)

    return await start_training(runtime.jobs, rpc, method.signature.name, read)


def _priority(rpc: Rpc) -> int:
    sent = rpc.metadata().get(_PRIORITY)
    if sent is None:
        return 0
    return priority_of({_PRIORITY: [sent.decode("latin-1") or "''"]})  # an empty text would count as none
