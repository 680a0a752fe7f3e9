"""Server reflection, v1 and v1alpha: tools such as grpcurl learn the services from the server itself.

The two versions differ in the name of their package only, so one implementation serves both. grpcio-reflection has
v1alpha alone and looks descriptors up in one pool; ours come from several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from pillion.protocol.protos import open_inference_pb2
from pillion.protocol.runtime_files import runtime_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from grpc.aio import ServicerContext

    Context = ServicerContext[Any, Any]

__all__ = ["ChangingServices", "Reflection"]

_ALPHA: Final = "grpc.reflection.v1alpha"
_V1: Final = "grpc.reflection.v1"
_Request = reflection_pb2.ServerReflectionRequest
_Response = reflection_pb2.ServerReflectionResponse


class ChangingServices(Protocol):
    """Services that come and go with models."""

    def services(self) -> Sequence[str]:
        """Their names."""
        ...

    def files(self) -> Sequence[descriptor_pb2.FileDescriptorProto]:
        """Their definitions, each after those it depends on."""
        ...


class _Definitions:
    """Files by name and by symbol."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        self._files: dict[str, bytes] = {}

    def add(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._files[file.name] = file.SerializeToString()
        self._pool.Add(file)

    def file(self, name: str) -> bytes | None:
        return self._files.get(name)

    def file_of(self, symbol: str) -> bytes | None:
        # The pool finds messages, enums and services; a method is found by the service it belongs to.
        for name in (symbol, symbol.rpartition(".")[0]):
            try:
                return self._files.get(self._pool.FindFileContainingSymbol(name).name)
            except KeyError:
                continue
        return None


class Reflection:
    """Answers by name of file or symbol from the services of this server. There are no extensions in proto3.

    Args:
        services: names of those that are always there.
        changing: those that are not.
    """

    def __init__(self, services: Iterable[str], changing: ChangingServices | None = None) -> None:
        self._services = (*services, f"{_V1}.ServerReflection", f"{_ALPHA}.ServerReflection")
        self._changing = changing
        self._fixed = _Definitions()
        for module in (open_inference_pb2, health_pb2, reflection_pb2):
            file = descriptor_pb2.FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(file)
            self._fixed.add(file)
            if module is reflection_pb2:
                self._fixed.add(_as_v1(file))
        for file in runtime_files():
            self._fixed.add(file)

    def _definitions(self) -> list[_Definitions]:
        if self._changing is None:
            return [self._fixed]
        changing = _Definitions()
        for file in self._changing.files():
            changing.add(file)
        return [self._fixed, changing]

    async def info(
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], _: Context
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """One answer for each question."""
        async for request in requests:
            answer = self._answer(request)
            answer.original_request.CopyFrom(request)
            answer.valid_host = request.host
            yield answer

    def _answer(self, request: reflection_pb2.ServerReflectionRequest) -> reflection_pb2.ServerReflectionResponse:
        match request.WhichOneof("message_request"):
            case "list_services":
                names = (*self._services, *(self._changing.services() if self._changing is not None else ()))
                services = [reflection_pb2.ServiceResponse(name=name) for name in names]
                return _Response(list_services_response=reflection_pb2.ListServiceResponse(service=services))
            case "file_by_filename":
                name = request.file_by_filename
                return _found(name, [definitions.file(name) for definitions in self._definitions()])
            case "file_containing_symbol":
                name = request.file_containing_symbol
                return _found(name, [definitions.file_of(name) for definitions in self._definitions()])
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                return _Response(
                    all_extension_numbers_response=reflection_pb2.ExtensionNumberResponse(base_type_name=name)
                )
            case kind:
                return _not_found(str(kind))

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Both versions of the service for a server."""
        method = grpc.stream_stream_rpc_method_handler(self.info, _Request.FromString, _Response.SerializeToString)
        return [
            grpc.method_handlers_generic_handler(f"{package}.ServerReflection", {"ServerReflectionInfo": method})
            for package in (_V1, _ALPHA)
        ]


def _as_v1(alpha: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto.FromString(alpha.SerializeToString())
    file.name, file.package = "grpc/reflection/v1/reflection.proto", _V1
    for message in file.message_type:
        for field in (field for field in message.field if field.type_name):
            field.type_name = field.type_name.replace(f".{_ALPHA}.", f".{_V1}.")
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(f".{_ALPHA}.", f".{_V1}.")
            method.output_type = method.output_type.replace(f".{_ALPHA}.", f".{_V1}.")
    return file


def _found(name: str, files: Sequence[bytes | None]) -> reflection_pb2.ServerReflectionResponse:
    for content in files:
        if content is not None:
            found = reflection_pb2.FileDescriptorResponse(file_descriptor_proto=[content])
            return _Response(file_descriptor_response=found)
    return _not_found(name)


def _not_found(name: str) -> reflection_pb2.ServerReflectionResponse:
    code: int = grpc.StatusCode.NOT_FOUND.value[0]
    error = reflection_pb2.ErrorResponse(error_code=code, error_message=f"{name!r} is not known here")
    return _Response(error_response=error)
