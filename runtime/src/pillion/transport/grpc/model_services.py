"""``pillion.runtime.InfoService`` and ``ModelManagement``: what ``/info`` and ``/management/models`` are over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf import struct_pb2

from pillion.errors import ErrorCode, PillionError
from pillion.management.information import version_document
from pillion.management.orders import DeployRequest, IncomingFiles, SentFile, deploy, missing, order, staged
from pillion.protocol.protos import runtime_pb2 as pb
from pillion.protocol.task_message import from_value
from pillion.transport.grpc.runtime_calls import filled
from pillion.transport.management_access import CHANGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from google.protobuf.message import Message

    from pillion.management.audit import Who
    from pillion.management.deployments import Deployments
    from pillion.management.information import ModelInfo
    from pillion.management.interfaces import Order
    from pillion.modelstore import Staging
    from pillion.transport.grpc.runtime_calls import Rpc, RuntimeCalls

    Uploaded = AsyncIterator[tuple[pb.UploadModelRequest, int]]

__all__ = ["InfoMethods", "ModelMethods"]

_LARGEST_CONFIG: Final = 256 * 1024


class InfoMethods:
    """What serves, and what it serves. Everybody may ask."""

    def __init__(self, deployments: Callable[[], Deployments]) -> None:
        self._deployments = deployments

    def add_to(self, calls: RuntimeCalls) -> None:
        """Offer every method."""
        calls.unary("GetRuntimeInfo", pb.RuntimeInfoRequest, self._runtime)
        calls.unary("GetModelsInfo", pb.ModelsInfoRequest, self._models)

    async def _runtime(self, _: pb.RuntimeInfoRequest, __: Rpc) -> Message:
        return filled(await asyncio.to_thread(version_document), pb.RuntimeInfo())

    async def _models(self, request: pb.ModelsInfoRequest, _: Rpc) -> Message:
        return await _told(self._deployments(), request.model_ids)


class ModelMethods:
    """Models that come and go.

    Args:
        deployments: what deploys.
        most: bytes of an upload.
    """

    def __init__(self, deployments: Callable[[], Deployments], most: int) -> None:
        self._deployments = deployments
        self._most = most

    def add_to(self, calls: RuntimeCalls) -> None:
        """Offer every method."""
        calls.unary("DeployModel", pb.DeployModelRequest, self._deploy)
        calls.upload("UploadModel", pb.UploadModelRequest, self._upload)
        calls.unary("UndeployModel", pb.UndeployModelRequest, self._undeploy)
        calls.unary("GetModel", pb.ModelRequest, self._get)
        calls.unary("ListModels", pb.ModelsInfoRequest, self._list)
        calls.unary("ListAliases", pb.ModelRequest, self._aliases)
        calls.unary("SetAlias", pb.SetAliasRequest, self._set_alias)
        calls.unary("RemoveAlias", pb.RemoveAliasRequest, self._remove_alias)
        calls.unary("ReconfigureModel", pb.ReconfigureModelRequest, self._reconfigure)

    async def _deploy(self, request: pb.DeployModelRequest, rpc: Rpc) -> Message:
        who = rpc.admitted("deploy", request.model_id, CHANGES)
        files = [SentFile(file.filename, file.data) for file in request.model_files]
        asked = DeployRequest(
            request.model_id,
            files or None,
            request.storage_uri if request.HasField("storage_uri") else None,
            request.digest or None,
            request.version if request.HasField("version") else None,
            _object(request.metadata),
            request.format or None,
        )
        deployments = self._deployments()
        return _model(await deployments.changes.unbroken(deploy(deployments, asked, who)))

    async def _upload(self, messages: Uploaded, rpc: Rpc) -> Message:
        received = await anext(messages, None)
        first, size = received or (pb.UploadModelRequest(), 0)
        begin = first.begin
        who = rpc.admitted("deploy", begin.model_id, CHANGES)
        if first.WhichOneof("part") != "begin":
            raise missing("begin", "the first message says what the model is to be called")
        wanted = order(begin.model_id, _object(begin.metadata), begin.format or None)
        deployments = self._deployments()
        async with contextlib.AsyncExitStack() as stack:
            staging = await stack.enter_async_context(staged(deployments))
            await self._receive(messages, staging, size)
            held = stack.pop_all()
        return _model(await deployments.changes.unbroken(_deployed(deployments, wanted, staging, who, held)))

    async def _receive(self, messages: Uploaded, staging: Staging, taken: int) -> None:
        """Write what comes to disk.

        Raises:
            PillionError: it is more than allowed, out of order, or names files that may not be.
        """
        files = IncomingFiles(staging)
        stated: int | None = None
        with contextlib.closing(files):
            async for message, size in messages:
                taken += size
                if taken > self._most:
                    raise PillionError(
                        ErrorCode.PAYLOAD_TOO_LARGE,
                        f"the upload is larger than {self._most} bytes",
                        field="model_files",
                        remedy="raise management.max_upload_bytes, or deploy by storage_uri",
                    )
                match message.WhichOneof("part"):
                    case "file":
                        await _end(files, stated)
                        await files.begin(message.file.filename)
                        stated = message.file.size if message.file.HasField("size") else None
                    case "data" if files.writing:
                        await files.write(message.data)
                    case part:
                        raise _wrong(part or "part", "a file that is named, then its data, and begin only once")
            await _end(files, stated)
        if not files.count:
            raise _wrong("file", "there is no file")

    async def _undeploy(self, request: pb.UndeployModelRequest, rpc: Rpc) -> Message:
        who = rpc.admitted("undeploy", request.model_id, CHANGES)
        name = _name(request.model_id)
        deployments = self._deployments()
        await deployments.changes.unbroken(deployments.undeploy(name, who, purge=request.purge))
        return pb.UndeployModelResponse(model_id=name)

    async def _get(self, request: pb.ModelRequest, _: Rpc) -> Message:
        return await _told(self._deployments(), [_name(request.model_id)])

    async def _list(self, request: pb.ModelsInfoRequest, _: Rpc) -> Message:
        return await _told(self._deployments(), request.model_ids)

    async def _aliases(self, request: pb.ModelRequest, rpc: Rpc) -> Message:
        rpc.admitted("aliases", request.model_id, CHANGES)
        name = _name(request.model_id)
        return pb.Aliases(model_id=name, aliases=await self._deployments().aliases(name))

    async def _set_alias(self, request: pb.SetAliasRequest, rpc: Rpc) -> Message:
        return await self._alias(request.model_id, request.alias, _given(request.version, "version"), rpc)

    async def _remove_alias(self, request: pb.RemoveAliasRequest, rpc: Rpc) -> Message:
        return await self._alias(request.model_id, request.alias, None, rpc)

    async def _reconfigure(self, request: pb.ReconfigureModelRequest, rpc: Rpc) -> Message:
        who = rpc.admitted("reconfigure", request.model_id, CHANGES)
        name = _name(request.model_id)
        if len(request.config) > _LARGEST_CONFIG:  # as over HTTP
            raise _wrong("config", f"it has more than {_LARGEST_CONFIG} characters")
        try:
            config = msgspec.json.decode(_given(request.config, "config"), type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise _wrong("config", f"write a JSON object: {error}") from None
        deployments = self._deployments()
        given = deployments.reconfigure(name, request.version or None, config, who)
        return filled(msgspec.to_builtins(await deployments.changes.unbroken(given)), pb.ReconfiguredModel())

    async def _alias(self, name: str, alias: str, version: str | None, rpc: Rpc) -> Message:
        who = rpc.admitted("alias", name, CHANGES)
        deployments = self._deployments()
        given = deployments.alias(_name(name), _given(alias, "alias"), version, who)
        return pb.Aliases(model_id=name, aliases=await deployments.changes.unbroken(given))


async def _deployed(
    deployments: Deployments, wanted: Order, staging: Staging, who: Who, held: contextlib.AsyncExitStack
) -> ModelInfo:
    async with held:
        return await deployments.deploy(wanted, staging, who)


async def _end(files: IncomingFiles, stated: int | None) -> None:
    """A file has ended, or none was begun.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: it is not as large as was said.
    """
    if stated is not None and files.size != stated:
        raise _wrong("file.size", f"{stated} bytes were announced, and {files.size} came")
    if files.writing:
        await files.end()


async def _told(deployments: Deployments, names: Collection[str]) -> pb.ModelsInfo:
    return pb.ModelsInfo(models=[_model(info) for info in await deployments.information(names)])


def _model(info: ModelInfo) -> pb.ModelInfo:
    return filled(msgspec.to_builtins(info), pb.ModelInfo())


def _object(struct: struct_pb2.Struct) -> dict[str, Any]:
    found: dict[str, Any] = from_value(struct_pb2.Value(struct_value=struct))
    return found


def _name(given: str) -> str:
    return _given(given, "model_id")


def _given(value: str, field: str) -> str:
    if not value:
        raise missing(field, "name one")
    return value


def _wrong(field: str, text: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {text}", field=field)
