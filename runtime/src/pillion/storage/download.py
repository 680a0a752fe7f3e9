"""One object from a source to a file: streamed, counted, hashed, tried again and continued after a break.

A broken download goes on where it was, while the source still has the version that it began with. A try that gets
8 MiB further than any before makes the count of tries begin again, so a long download survives any number of breaks,
and one that gets nowhere ends after `FetchOptions.attempts`. A connection has `FetchOptions.stall_seconds` for each
next byte, however long the whole takes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.storage.errors import Reason, StorageError
from pillion.storage.partial import PartialFile
from pillion.storage.place import disk_error
from pillion.storage.source import SourceChanged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pillion.storage.artifact import ArtifactFile
    from pillion.storage.options import FetchOptions
    from pillion.storage.place import Staging
    from pillion.storage.progress import Meter
    from pillion.storage.source import Body, Source, SourceObject

__all__ = ["Downloaded", "backoff_seconds", "deadline", "download", "log_retry", "too_large"]

_LOGGER: Final = logging.getLogger("pillion.storage")
_WRITE_BYTES: Final = 1 << 20
_WRITE_SECONDS: Final = 0.5
_PROGRESS_BYTES: Final = 8 << 20
_MAX_BACKOFF: Final = 30.0


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A complete file in the staging directory, and the version that the source gave for it."""

    file: ArtifactFile
    version: str | None


def backoff_seconds(attempt: int, first: float, fraction: float) -> float:
    """The pause after try number `attempt` (from 1): doubles up to 30 s; `fraction` (0..1) takes up to half off."""
    return float(min(_MAX_BACKOFF, first * 2 ** min(attempt - 1, 10)) * (1 - fraction / 2))


async def download(
    source: Source, item: SourceObject, staging: Staging, options: FetchOptions, meter: Meter, uri: str
) -> Downloaded:
    """Bring one object into `staging.data`.

    Raises:
        StorageError: what the source or the disk says, after the last try.
    """
    shown = uri if uri.endswith(f"/{item.path}") else f"{uri} ({item.path})"
    target = PartialFile(staging, item)
    try:
        await asyncio.to_thread(target.restore)
        meter.reach(item.path, target.offset, earlier=True)
        await _try_until_complete(source, item, target, options, meter, shown)
        meter.complete_file()
        file = await asyncio.to_thread(target.finish)
        if item.sha256 is not None and file.sha256 != item.sha256.lower():
            raise StorageError(
                Reason.DIGEST_MISMATCH,
                f"{shown} came as sha256:{file.sha256}, the source says sha256:{item.sha256}",
                remedy="start again; if it stays so, what is between changes files",
            )
        return Downloaded(file, target.version)
    except OSError as error:
        raise disk_error(error, staging.destination) from error
    finally:
        target.close()


async def _try_until_complete(
    source: Source, item: SourceObject, target: PartialFile, options: FetchOptions, meter: Meter, shown: str
) -> None:
    attempt, furthest = 0, target.offset
    while not target.complete:
        try:
            if await _stream(source, item, target, options, meter, shown):
                return
            error = _truncated(shown, target)
        except SourceChanged:
            error = _changed(shown)
            await asyncio.to_thread(target.restart)
        except StorageError as caught:
            if not caught.transient:
                raise
            error = caught
        meter.reach(item.path, target.offset)
        attempt = 1 if target.offset - furthest >= _PROGRESS_BYTES else attempt + 1
        furthest = max(furthest, target.offset)
        if attempt >= options.attempts:
            raise error
        pause = error.retry_after or backoff_seconds(attempt, options.backoff_seconds, random.random())  # noqa: S311  (jitter, not a secret)
        log_retry(error, shown, attempt, options.attempts, pause, target.offset)
        await asyncio.sleep(pause)


async def _stream(
    source: Source, item: SourceObject, target: PartialFile, options: FetchOptions, meter: Meter, shown: str
) -> bool:
    """One try: from where the file is to the end of the stream, or to an error; whether the file is complete now."""
    async with AsyncExitStack() as stack:
        async with deadline(options.stall_seconds, shown):
            body = await stack.enter_async_context(source.open(item, target.offset, target.version))
        await asyncio.to_thread(target.begin, body)
        if body.total is not None and item.size is None:
            meter.learn_total(body.total)
            if options.max_bytes and body.total > options.max_bytes:
                raise too_large(shown, body.total, options.max_bytes)
        try:
            await _copy(body, item.path, target, options, meter, shown)
        finally:
            await asyncio.to_thread(target.checkpoint)
    return target.complete


async def _copy(body: Body, name: str, target: PartialFile, options: FetchOptions, meter: Meter, shown: str) -> None:
    """Pass chunks on in pieces of 1 MiB, or of half a second where the source is slow."""
    chunks = aiter(body.chunks)
    pending: list[bytes] = []
    size, since = 0, time.monotonic()
    try:
        while True:
            async with deadline(options.stall_seconds, shown):
                chunk = await anext(chunks, None)
            if chunk is None:
                target.end()
                return
            pending.append(chunk)
            size += len(chunk)
            meter.reach(name, target.offset + size)
            if options.max_bytes and meter.done > options.max_bytes:
                raise too_large(shown, meter.done, options.max_bytes)
            if size >= _WRITE_BYTES or time.monotonic() - since >= _WRITE_SECONDS:
                data, pending, size = b"".join(pending), [], 0
                await asyncio.to_thread(target.append, data)
                since = time.monotonic()
    finally:
        if pending:
            await asyncio.to_thread(target.append, b"".join(pending))


@asynccontextmanager
async def deadline(seconds: float, shown: str) -> AsyncIterator[None]:
    """Give the block so many seconds.

    Raises:
        StorageError: `Reason.DOWNLOAD_STALLED`, transient.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StorageError(
            Reason.DOWNLOAD_STALLED,
            f"{shown} sent nothing for {seconds:g} s",
            remedy="check the source and the network between, or raise PILLION_STORAGE_STALL_SECONDS",
            transient=True,
        ) from None


def log_retry(error: StorageError, shown: str, attempt: int, attempts: int, pause: float, offset: int) -> None:
    """Tell that a try failed and when the next one comes."""
    _LOGGER.warning(
        "try %d of %d failed, next in %.1f s: %s",
        attempt,
        attempts,
        pause,
        error.message,
        extra={
            "fields": {
                "event": "storage.retry",
                "uri": shown,
                "reason": str(error.reason),
                "attempt": attempt,
                "attempts": attempts,
                "pause_seconds": round(pause, 2),
                "offset": offset,
            }
        },
    )


def too_large(shown: str, size: int, cap: int) -> StorageError:
    """The refusal of an artifact over the size cap."""
    return StorageError(
        Reason.TOO_LARGE,
        f"{shown} has at least {size} bytes, over the cap of {cap}",
        remedy="raise PILLION_STORAGE_MAX_BYTES, or name a smaller artifact",
    )


def _truncated(shown: str, target: PartialFile) -> StorageError:
    return StorageError(
        Reason.DOWNLOAD_FAILED,
        f"{shown} ended after {target.offset} of {target.total} bytes",
        remedy="check the source and the network between",
        transient=True,
    )


def _changed(shown: str) -> StorageError:
    return StorageError(
        Reason.DOWNLOAD_FAILED,
        f"{shown} changed while it was downloaded, or its size is not what the source said",
        remedy="let nobody write to it meanwhile, or name a version that stays",
        transient=True,
    )
