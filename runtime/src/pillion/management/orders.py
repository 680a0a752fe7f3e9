"""What a request for a deployment says, in whichever form it came: the one way from there to :class:`Deployments`."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.management.interfaces import Order
from pillion.to_the_end import to_the_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pillion.management.audit import Who
    from pillion.management.deployments import Deployments
    from pillion.management.information import ModelInfo
    from pillion.modelstore import StagedFile, Staging

__all__ = ["DeployRequest", "IncomingFiles", "SentFile", "deploy", "missing", "order", "staged"]

_WRITE_BYTES: Final = 1 << 20


class SentFile(msgspec.Struct):
    """A file that fits into the request."""

    filename: str
    data: bytes = b""


class DeployRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Files, or where they are, or a version that is in the store."""

    model_id: str = ""
    model_files: list[SentFile] | None = None
    storage_uri: str | None = None
    digest: str | None = None
    version: str | None = None
    metadata: dict[str, Any] = {}
    format: str | None = None


async def deploy(deployments: Deployments, request: DeployRequest, who: Who, name: str = "") -> ModelInfo:
    """Do what a request says; ``name`` is the model's where the request names none. Its files are given up.

    Raises:
        PillionError: as :class:`Deployments`; ``INVALID_ARGUMENT``, with the field.
    """
    wanted = order(request.model_id or name, request.metadata, request.format)
    given = [key for key in ("model_files", "storage_uri", "version") if getattr(request, key) is not None]
    if len(given) != 1:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"one of model_files, storage_uri and version says what to deploy, not {' and '.join(given) or 'none'}",
            field="model_files",
            remedy="send exactly one of them",
        )
    if request.storage_uri is not None:
        return await deployments.fetch(wanted, request.storage_uri, request.digest, who)
    if request.version is not None:
        return await deployments.deploy_version(wanted.name, request.version, who)
    async with staged(deployments) as staging:
        await to_the_end(partial(_write_all, staging, request.model_files or []))
        return await deployments.deploy(wanted, staging, who)


def order(name: str, metadata: Mapping[str, Any], format_name: str | None) -> Order:
    """What is to be deployed as.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: no name, or an unknown format.
    """
    if not name:
        raise missing("model_id", "say what the model is to be called")
    if format_name:
        from pillion.backends.api import ModelLoadError, canonical_name  # noqa: PLC0415 - few name a format
        from pillion.runtimefile import PYTHON  # noqa: PLC0415 - as above

        try:
            format_name = format_name if format_name == PYTHON else canonical_name(format_name)
        except ModelLoadError as error:
            raise PillionError(ErrorCode.INVALID_ARGUMENT, f"format: {error}", field="format") from None
    return Order(name, metadata, format_name or None)


def missing(field: str, remedy: str) -> PillionError:
    """That a field has to be there."""
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: missing", field=field, remedy=remedy)


@contextlib.asynccontextmanager
async def staged(deployments: Deployments) -> AsyncIterator[Staging]:
    """A version that is being put together; what has not become one is removed."""
    store = await deployments.store()
    making = asyncio.ensure_future(asyncio.to_thread(store.stage))
    try:
        staging = await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(_discard)  # the caller left while it was made
        raise
    try:
        yield staging
    finally:
        await to_the_end(staging.discard)


def _discard(making: asyncio.Future[Staging]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().discard()


class IncomingFiles:
    """Files that are written while they arrive, in memory that does not depend on their size."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._file: StagedFile | None = None
        self._pending = bytearray()
        self.count = 0
        self.size = 0
        """Bytes of the file that was begun last."""

    @property
    def writing(self) -> bool:
        """Whether a file was begun and has not ended."""
        return self._file is not None

    async def begin(self, filename: str) -> None:
        """A file begins; the one before has ended.

        Raises:
            PillionError: ``INVALID_ARGUMENT``: its name.
        """
        self.count += 1
        self.size = 0
        self._file = await to_the_end(partial(self._staging.open, filename))

    async def write(self, data: bytes) -> None:
        """More of it."""
        self.size += len(data)
        self._pending += data
        if len(self._pending) >= _WRITE_BYTES:
            await self._flush()

    async def end(self) -> None:
        """It is complete."""
        await self._flush()
        if self._file is not None:
            await to_the_end(self._file.finish)
            self._file = None

    async def _flush(self) -> None:
        if self._file is not None:
            await to_the_end(partial(self._file.write, self._pending))
        self._pending = bytearray()

    def close(self) -> None:
        """Give up what is incomplete."""
        if self._file is not None:
            self._file.close()


def _write_all(staging: Staging, files: list[SentFile]) -> None:
    for sent in files:
        target = staging.open(sent.filename)
        with contextlib.closing(target):
            target.write(sent.data)
            target.finish()
        sent.data = b""
