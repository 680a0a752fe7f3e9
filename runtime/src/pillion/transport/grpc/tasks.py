"""Tasks over gRPC: a service for each class, found again when models change."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc

from pillion.dataplane.call import WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.task_message import decode_request, encode_response
from pillion.protocol.task_schema import service_schema, shared_files
from pillion.transport.grpc.context import Caller, Method, answered, ranked_call_of
from pillion.transport.grpc.observation import observer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf import descriptor_pb2
    from grpc.aio import ServicerContext

    from pillion.dataplane.tasks import ServedTask, TaskPlane
    from pillion.protocol.task_schema import ServiceSchema, TaskMethod
    from pillion.transport.grpc.options import GrpcOptions

    Context = ServicerContext[Any, Any]

__all__ = ["TaskServices"]

_log: Final = logging.getLogger("pillion.grpc")
_MODEL_ID: Final = "mm-model-id"


@dataclass(frozen=True, slots=True)
class _Service:
    """One class's service, and the models that are of that class."""

    schema: ServiceSchema
    models: tuple[str, ...]


class TaskServices(grpc.GenericRpcHandler):
    """Answers the methods of every task that is served now.

    The model is named by the metadata ``mm-model-id`` where several are of the class.
    """

    def __init__(self, plane: TaskPlane, options: GrpcOptions) -> None:
        self._plane = plane
        self._options = options
        self._observer = observer_of(options)
        self._known: Sequence[ServedTask] = ()
        self._services: dict[str, _Service] = {}
        self._methods: dict[str, tuple[_Service, TaskMethod]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a method; None for one that is none of ours."""
        self._refresh()
        found = self._methods.get(handler_call_details.method)
        if found is None:
            return None
        # No (de)serializers: what a message means is said by the signature of the model that answers.
        service, method = found
        if not (method.streams_in or method.streams_out):
            return grpc.unary_unary_rpc_method_handler(partial(self._answer, service, method))
        from pillion.transport.grpc.task_streams import TaskStreams  # noqa: PLC0415 - most tasks do not stream

        streams = TaskStreams(
            self._plane,
            method,
            service.schema.name,
            lambda context: self._plane.find(method.task, _model(service, context)),
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
        return list(self._services)

    def files(self) -> list[descriptor_pb2.FileDescriptorProto]:
        """Their definitions and what these depend on; empty where there are no tasks."""
        self._refresh()
        own = [service.schema.file for service in self._services.values()]
        return [*shared_files(), *own] if own else []

    def _refresh(self) -> None:
        tasks = self._plane.tasks()
        if tasks is self._known:
            return
        self._known = tasks
        self._services = _services(tasks)
        self._methods = {
            f"/{name}/{method.name}": (service, method)
            for name, service in self._services.items()
            for method in service.schema.methods
        }

    async def _answer(self, service: _Service, method: TaskMethod, message: bytes, context: Context) -> bytes:
        observer = self._observer

        async def handle(caller: Caller) -> bytes:
            model = ""
            if observer is not None and caller.observed is not None:
                observer.request(caller.observed, message, caller.request_id)
            try:
                model = _model(service, context)
                task = self._plane.find(method.task, model)
                arguments = decode_request(method, task.signature, message)
                call = ranked_call_of(context, caller, self._options.clock)
            except PillionError as error:
                self._plane.refused(error, WireProtocol.GRPC, model)
                raise
            result = await self._plane.perform(task, arguments, call)
            answer = encode_response(method, task.signature, result.value)
            if observer is not None and caller.observed is not None:
                observer.response(caller.observed, answer)
            return answer

        return await answered(
            Method(service.schema.name, method.name, prediction=True), context, self._observer, handle
        )


def _model(service: _Service, context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == _MODEL_ID:
            return value if isinstance(value, str) else value.decode("ascii", "replace")
    if len(service.models) == 1:
        return service.models[0]
    raise PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"several models have this service: {', '.join(service.models)}",
        field=_MODEL_ID,
        remedy=f"name one in the metadata {_MODEL_ID}",
    )


def _services(tasks: Sequence[ServedTask]) -> dict[str, _Service]:
    """By name. Of classes with one name and different tasks the first is the contract."""
    by_model: dict[tuple[str, str], list[ServedTask]] = {}
    for task in tasks:
        by_model.setdefault((task.signature.owner, task.model), []).append(task)
    services: dict[str, _Service] = {}
    for (owner, model), own in by_model.items():
        schema = service_schema(owner, [task.signature for task in own], own[0].lock)
        if schema.changes:
            _log.warning(
                "%s: proto.lock does not know all of its fields (%s): run pillion proto before clients use them",
                schema.name, schema.changes,
            )  # fmt: skip
        known = services.get(schema.name)
        if known is None:
            services[schema.name] = _Service(schema, (model,))
        elif _content(known.schema) == _content(schema):
            services[schema.name] = _Service(known.schema, (*known.models, model))
        else:
            _log.warning(
                "model %s: another class %s with other tasks is served by gRPC as %s: rename one of them",
                model, owner, schema.name,
            )  # fmt: skip
    return services


def _content(schema: ServiceSchema) -> bytes:
    return schema.file.SerializeToString(deterministic=True)
