"""Files on their way into a version: archives that are unpacked, and what URIs name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from pillion.errors import ErrorCode, PillionError
from pillion.storage.archive import archive_format, unpack
from pillion.storage.errors import StorageError
from pillion.storage.options import FetchOptions

if TYPE_CHECKING:
    from pillion.modelstore import ModelStore, Staging

__all__ = ["fetched", "remote", "unpacked"]

_TRANSIENT: Final = range(40, 50)
_OF_DISK: Final = 50


async def unpacked(store: ModelStore, staging: Staging) -> Staging:
    """The content of an archive, where that is all that was sent."""
    records = staging.records
    kind = archive_format(records[0].path) if len(records) == 1 else None
    if kind is None:
        return staging
    inner = await asyncio.to_thread(store.stage)
    try:
        archive = staging.files / records[0].path
        files = await asyncio.to_thread(unpack, archive, kind, inner.files, FetchOptions())
        await asyncio.to_thread(inner.adopt, files)
    except StorageError as error:
        inner.discard()
        raise _translated(error) from None
    except BaseException:
        inner.discard()
        raise
    return inner


async def fetched(staging: Staging, uri: str, digest: str | None) -> dict[str, Any]:
    """Put what a URI names into a version; what to remember of it."""
    from pillion.storage.fetching import fetch  # noqa: PLC0415 - only who deploys by URI needs it

    try:
        import os  # noqa: PLC0415 - as above

        options = FetchOptions.from_environment(os.environ, digest=digest)
        artifact = await fetch(uri, staging.files, options)
    except StorageError as error:
        raise _translated(error) from None
    await asyncio.to_thread(staging.adopt, artifact.files)
    staging.single = artifact.kind == "file"
    return {"source_digest": artifact.digest}


def remote(uri: str) -> str:
    """The URI without secrets, if it leads to another machine."""
    from pillion.storage.uri import REMOTE_SCHEMES, parse_uri  # noqa: PLC0415 - only who deploys by URI needs it

    try:
        parsed = parse_uri(uri)
    except StorageError as error:
        raise _translated(error) from None
    if parsed.scheme not in REMOTE_SCHEMES:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"storage_uri: a request cannot name files of this machine ({parsed.scheme}:)",
            field="storage_uri",
            remedy=f"send the files, or name one of {', '.join(sorted(REMOTE_SCHEMES))}",
        )
    return str(parsed)


def _translated(error: StorageError) -> PillionError:
    if error.exit_code in _TRANSIENT:
        return PillionError(ErrorCode.NOT_READY, error.message, remedy=error.remedy, retry_after=error.retry_after)
    code = ErrorCode.STORAGE_FULL if error.exit_code == _OF_DISK else ErrorCode.INVALID_ARGUMENT
    return PillionError(code, error.message, remedy=error.remedy)
