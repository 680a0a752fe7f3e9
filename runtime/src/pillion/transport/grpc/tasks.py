"""Tasks over gRPC: a service for each class and for each domain, found again when models change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from pillion.dataplane.call import WireProtocol
from pillion.errors import PillionError
from pillion.protocol.task_message import decode_request, encode_response
from pillion.protocol.task_schema import files_before
from pillion.transport.grpc.context import Caller, Method, answered, ranked_call_of
from pillion.transport.grpc.observation import observer_of
from pillion.transport.grpc.task_services import model_of, services_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf import descriptor_pb2
    from grpc.aio import ServicerContext

    from pillion.dataplane.tasks import ServedTask, TaskPlane
    from pillion.protocol.task_schema import TaskMethod
    from pillion.transport.grpc.options import GrpcOptions
    from pillion.transport.grpc.runtime_services import RuntimeParts
    from pillion.transport.grpc.task_services import TaskService

    Context = ServicerContext[Any, Any]

__all__ = ["TaskServices"]


class TaskServices(grpc.GenericRpcHandler):
    """Answers the methods of every task that is served now.

    The model is named by the metadata ``mm-model-id`` where several are of the class.
    """

    def __init__(self, plane: TaskPlane, options: GrpcOptions, runtime: RuntimeParts | None = None) -> None:
        self._plane = plane
        self._options = options
        self._runtime = runtime
        self._observer = observer_of(options)
        self._known: Sequence[ServedTask] = ()
        self._services: dict[str, TaskService] = {}
        self._methods: dict[str, tuple[TaskService, TaskMethod]] = {}
        self._typed: dict[str, grpc.GenericRpcHandler] = {}
        """Jobs and trainings of domains, by the names of their services."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a method; None for one that is none of ours."""
        self._refresh()
        found = self._methods.get(handler_call_details.method)
        if found is None:
            typed = self._typed.get(str(handler_call_details.method).rpartition("/")[0].removeprefix("/"))
            return None if typed is None else typed.service(handler_call_details)
        # No (de)serializers: what a message means is said by the signature of the model that answers.
        service, method = found
        if not (method.streams_in or method.streams_out):
            return grpc.unary_unary_rpc_method_handler(partial(self._answer, service, method))
        from pillion.transport.grpc.task_streams import TaskStreams  # noqa: PLC0415 - most tasks do not stream

        streams = TaskStreams(
            self._plane,
            method,
            service.schema.name,
            lambda context: self._plane.find(method.task, model_of(service.models[method.task], context)),
            service.contracts[method.task],
            self._observer,
            self._options.clock,
        )
        if not method.streams_in:
            return grpc.unary_stream_rpc_method_handler(streams.unary_stream)
        if not method.streams_out:
            return grpc.stream_unary_rpc_method_handler(streams.stream_unary)
        return grpc.stream_stream_rpc_method_handler(streams.stream_stream)

    def services(self) -> list[str]:
        """Names of the services, for reflection."""
        self._refresh()
        return [*(self._services if self._options.inference else ()), *self._typed]

    def files(self) -> list[descriptor_pb2.FileDescriptorProto]:
        """Their definitions and what these depend on; empty where there are no tasks."""
        self._refresh()
        own = [service.schema.file for service in self._services.values()]
        before = {one.name: one for file in own for one in files_before(file)}
        return [*before.values(), *own]

    def _refresh(self) -> None:
        tasks = self._plane.tasks()
        if tasks is self._known:
            return
        self._known = tasks
        self._services = services_of(tasks, self._runtime)
        self._methods = {
            f"/{name}/{method.name}": (service, method)
            for name, service in self._services.items()
            if self._options.inference
            for method in service.schema.methods
        }
        self._typed = {}
        for service in self._services.values():
            if service.domain is not None and self._runtime is not None:
                from pillion.transport.grpc.domain_services import domain_handlers  # noqa: PLC0415 - few have a domain

                self._typed |= domain_handlers(service, service.domain, self._runtime, self._options)

    async def _answer(self, service: TaskService, method: TaskMethod, message: bytes, context: Context) -> bytes:
        observer, contract = self._observer, service.contracts[method.task]

        async def handle(caller: Caller) -> bytes:
            model = ""
            if observer is not None and caller.observed is not None:
                observer.request(caller.observed, message, caller.request_id)
            try:
                model = model_of(service.models[method.task], context)
                task = self._plane.find(method.task, model)
                arguments = decode_request(method, task.signature, message, contract)
                call = ranked_call_of(context, caller, self._options.clock)
            except PillionError as error:
                self._plane.refused(error, WireProtocol.GRPC, model)
                raise
            result = await self._plane.perform(task, arguments, call)
            answer = encode_response(method, contract, result.value)
            if observer is not None and caller.observed is not None:
                observer.response(caller.observed, answer)
            return answer

        return await answered(
            Method(service.schema.name, method.name, prediction=True), context, self._observer, handle
        )
