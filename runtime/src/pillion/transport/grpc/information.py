"""The calls of the inference service that are not inference: health, metadata, repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.protobuf.message import DecodeError

from pillion.dataplane.call import ModelState
from pillion.errors import ErrorCode, PillionError
from pillion.protocol import documents
from pillion.protocol.model_config import config_document
from pillion.protocol.parameters import NO_SHARED_MEMORY
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.protocol.statistics import statistics_document
from pillion.transport.grpc.context import Caller, Method, answered
from pillion.transport.grpc.managed import managed
from pillion.transport.grpc.names import INFERENCE_SERVICE
from pillion.transport.grpc.observation import observer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message
    from grpc.aio import ServicerContext

    from pillion.dataplane.call import InferencePlane
    from pillion.transport.grpc.options import GrpcOptions

    Context = ServicerContext[Any, Any]
    Behaviour = Callable[[bytes, Context], Awaitable[bytes]]

__all__ = ["InformationMethods"]

_Request = TypeVar("_Request", bound="Message")
_NOT_HERE: Final = {
    **{
        f"{kind}SharedMemory{verb}": NO_SHARED_MEMORY
        for kind in ("System", "Cuda")
        for verb in ("Status", "Register", "Unregister")
    },
    "TraceSetting": "trace settings are not changed over the protocol; they are settings of the server",
    "LogSettings": "log settings are not changed over the protocol; they are settings of the server",
}
"""Methods of Triton's service that say why they are not offered."""


class InformationMethods:
    """Answers what the data plane knows of itself, and management where it is switched on."""

    def __init__(self, plane: InferencePlane, options: GrpcOptions) -> None:
        self._plane = plane
        self._options = options
        self._observer = observer_of(options)

    def methods(self) -> dict[str, Behaviour]:
        """Every unary method by its name in the service."""
        return {
            "ServerLive": self._method("ServerLive", pb.ServerLiveRequest, self._server_live),
            "ServerReady": self._method("ServerReady", pb.ServerReadyRequest, self._server_ready),
            "ModelReady": self._method("ModelReady", pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": self._method("ServerMetadata", pb.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": self._method("ModelMetadata", pb.ModelMetadataRequest, self._model_metadata),
            "ModelConfig": self._method("ModelConfig", pb.ModelConfigRequest, self._model_config),
            "ModelStatistics": self._method("ModelStatistics", pb.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": self._method("RepositoryIndex", pb.RepositoryIndexRequest, self._repository_index),
            "RepositoryModelLoad": self._change("RepositoryModelLoad", pb.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": self._change(
                "RepositoryModelUnload", pb.RepositoryModelUnloadRequest, self._unload
            ),
            **{name: self._refusal(name, sentence) for name, sentence in _NOT_HERE.items()},
        }

    def _refusal(self, name: str, sentence: str) -> Behaviour:
        """A method of Triton's that is refused whatever its message says."""

        async def method(_: bytes, context: Context) -> bytes:
            async def handle(_: Caller) -> bytes:
                raise PillionError(ErrorCode.UNIMPLEMENTED, sentence)

            return await answered(Method(INFERENCE_SERVICE, name), context, self._observer, handle)

        return method

    def _method(
        self, name: str, request_type: type[_Request], answer: Callable[[_Request], Awaitable[Message]]
    ) -> Behaviour:
        async def method(message: bytes, context: Context) -> bytes:
            async def handle(_: Caller) -> bytes:
                try:
                    request = request_type.FromString(message)
                except DecodeError as error:
                    text = f"the message is not a valid {request_type.__name__}"
                    raise PillionError(ErrorCode.INVALID_ARGUMENT, text) from error
                return (await answer(request)).SerializeToString()

            return await answered(Method(INFERENCE_SERVICE, name), context, self._observer, handle)

        return method

    def _change(
        self, name: str, request_type: type[_Request], change: Callable[[str], Awaitable[Message]]
    ) -> Behaviour:
        """A method that changes a model, which not everybody may, and which the log tells."""

        async def method(message: bytes, context: Context) -> bytes:
            async def handle(caller: Caller) -> bytes:
                try:
                    request: Any = request_type.FromString(message)
                except DecodeError as error:
                    text = f"the message is not a valid {request_type.__name__}"
                    raise PillionError(ErrorCode.INVALID_ARGUMENT, text) from error
                model: str = request.model_name or request.repository_name
                action = "load" if name == "RepositoryModelLoad" else "unload"
                with managed(self._options.management, action, model, context, caller.request_id):
                    return (await change(model)).SerializeToString()

            return await answered(Method(INFERENCE_SERVICE, name), context, self._observer, handle)

        return method

    async def _server_live(self, _: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, _: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._plane.ready())

    async def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        status = self._plane.status(request.name, request.version or None)
        return pb.ModelReadyResponse(ready=status.state is ModelState.READY or status.asleep)

    async def _server_metadata(self, _: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(**documents.server_document())

    async def _model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        status = self._plane.status(request.name, request.version or None)
        tensor = pb.ModelMetadataResponse.TensorMetadata
        metadata = status.metadata
        answer = pb.ModelMetadataResponse(name=status.name, versions=self._plane.versions(request.name))
        if metadata is not None:
            answer.platform = metadata.platform
            answer.inputs.extend(tensor(name=s.name, datatype=s.datatype, shape=s.shape) for s in metadata.inputs)
            answer.outputs.extend(tensor(name=s.name, datatype=s.datatype, shape=s.shape) for s in metadata.outputs)
        return answer

    async def _model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        status = self._plane.status(request.name, request.version or None)
        document = config_document(status, self._options.codec.max_elements)
        return pb.ModelConfigResponse(config=pb.ModelConfig(**document))

    async def _model_statistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        models = self._plane.statistics(request.name, request.version or None)
        return pb.ModelStatisticsResponse(**statistics_document(models))

    async def _repository_index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        entries = documents.index_entries(self._plane.statuses(), ready_only=request.ready)
        return pb.RepositoryIndexResponse(models=[pb.RepositoryIndexResponse.ModelIndex(**e) for e in entries])

    async def _load(self, name: str) -> pb.RepositoryModelLoadResponse:
        await self._plane.load(name)
        return pb.RepositoryModelLoadResponse(model_name=name, isLoaded=True)

    async def _unload(self, name: str) -> pb.RepositoryModelUnloadResponse:
        await self._plane.unload(name)
        return pb.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True)
