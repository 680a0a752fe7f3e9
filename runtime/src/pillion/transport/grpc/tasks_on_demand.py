"""Task services whose code is imported with the first task: a server of other models never pays for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf import descriptor_pb2

    from pillion.dataplane.tasks import TaskPlane
    from pillion.transport.grpc.options import GrpcOptions
    from pillion.transport.grpc.runtime_services import RuntimeParts
    from pillion.transport.grpc.tasks import TaskServices

__all__ = ["TasksOnDemand"]


class TasksOnDemand(grpc.GenericRpcHandler):
    """:class:`~pillion.transport.grpc.tasks.TaskServices`, made when there is a task."""

    def __init__(self, plane: TaskPlane, options: GrpcOptions, runtime: RuntimeParts | None) -> None:
        self._plane = plane
        self._options = options
        self._runtime = runtime
        self._made: TaskServices | None = None

    def _found(self) -> TaskServices | None:
        if self._made is None and self._plane.tasks():
            from pillion.transport.grpc.tasks import TaskServices  # noqa: PLC0415 - see the module's docstring

            self._made = TaskServices(self._plane, self._options, self._runtime)
        return self._made

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a method; None for one that is no task's."""
        found = self._found()
        return None if found is None else found.service(handler_call_details)

    def services(self) -> Sequence[str]:
        """Names of the services, for reflection."""
        found = self._found()
        return () if found is None else found.services()

    def files(self) -> Sequence[descriptor_pb2.FileDescriptorProto]:
        """Their definitions and what these depend on."""
        found = self._found()
        return () if found is None else found.files()
