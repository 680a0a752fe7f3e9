"""The way back: a file or a folder of this machine into storage, under the digest that a manifest states.

    pushed = push_sync(read_artifact(Path("iris.skops")), "s3://models/iris.skops", os.environ)
    print(pushed.uri, pushed.digest)

What is there already is compared by content, never by time or name: the same is left alone, something else is not
overwritten unless `force` says so. A folder's objects are written one by one, and a prefix that holds others besides
is refused, since its digest would be another than the one that is printed.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from pillion.storage.errors import Reason, StorageError
from pillion.storage.objectstore import open_store, translate
from pillion.storage.options import FetchOptions
from pillion.storage.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from obstore.store import ObjectStore

    from pillion.storage.local_artifact import LocalArtifact, LocalFile
    from pillion.storage.uri import StorageUri

__all__ = ["PUSH_SCHEMES", "PushProgress", "Pushed", "destination", "push", "push_sync"]

PUSH_SCHEMES: Final = ("s3", "gs", "az", "file")
_CHUNK: Final = 8 << 20
_MOST_PARTS: Final = 9_000
"""Of an upload in parts; the stores' limit is 10,000."""
_AT_A_TIME: Final = 4
_LISTED: Final = 5
_RETRIES: Final = {"max_retries": 4, "retry_timeout": dt.timedelta(seconds=60)}


@dataclass(frozen=True, slots=True)
class PushProgress:
    """How far it is: what is being done, bytes done of the bytes in all."""

    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """An artifact in storage.

    Attributes:
        uri: where, as a manifest's storageUri states it.
        digest: of its content, as the field `digest` states it.
        size: bytes, all files together.
        files: how many there are.
        unchanged: whether everything was there already, and nothing was uploaded.
    """

    uri: str
    digest: str
    size: int
    files: int
    unchanged: bool


def push_sync(
    artifact: LocalArtifact,
    uri: str,
    environment: Mapping[str, str],
    *,
    force: bool = False,
    tell: Callable[[PushProgress], None] | None = None,
) -> Pushed:
    """`push` for callers without an event loop."""
    return asyncio.run(push(artifact, uri, environment, force=force, tell=tell))


async def push(
    artifact: LocalArtifact,
    uri: str,
    environment: Mapping[str, str],
    *,
    force: bool = False,
    tell: Callable[[PushProgress], None] | None = None,
) -> Pushed:
    """Upload an artifact.

    Args:
        artifact: from `read_artifact`.
        uri: of scheme s3, gs, az or file; where it ends in ``/``, a single file goes below it under its own name.
        environment: the providers' variables, see `pillion.storage.credentials`.
        force: overwrite objects of the same name and other content.
        tell: called as it goes on.

    Raises:
        StorageError: the store refuses, something else is there, or the transfer failed.
    """
    return await _Push(artifact, uri, environment, tell or _silent).run(force=force)


class _Push:
    """One upload: the store, the keys, and what has been done."""

    def __init__(
        self,
        artifact: LocalArtifact,
        uri: str,
        environment: Mapping[str, str],
        tell: Callable[[PushProgress], None],
    ) -> None:
        self._artifact = artifact
        self._uri = destination(uri, artifact)
        self._shown = str(self._uri)
        self._tell = tell
        self._done = 0
        self._store, self._base = _store(self._uri, environment)

    async def run(self, *, force: bool) -> Pushed:
        there = await self._sizes()
        keys = {self._key(file): file for file in self._artifact.files}
        others = sorted(set(there) - set(keys))
        if others:
            raise _occupied(self._shown, others)
        missing = [file for key, file in keys.items() if key not in there]
        different = [keys[key] for key, size in there.items() if size != keys[key].size]
        same_size = [keys[key] for key, size in there.items() if size == keys[key].size]
        different += [file for file in same_size if await self._remote_sha256(file) != file.sha256]
        if different and not force:
            raise _different(self._shown, [file.path for file in different], single=self._artifact.single)
        await self._upload([*missing, *different])
        artifact = self._artifact
        return Pushed(
            self._shown, artifact.digest, artifact.size, len(artifact.files), unchanged=not missing and not different
        )

    def _key(self, file: LocalFile) -> str:
        return self._base if self._artifact.single else "/".join(part for part in (self._base, file.path) if part)

    async def _sizes(self) -> dict[str, int]:
        """The size of each object that is at the destination, by its key."""
        found: dict[str, int] = {}
        try:
            if self._artifact.single:
                meta = await obstore.head_async(self._store, self._base)
                return {self._base: meta["size"]}
            async for page in obstore.list(self._store, self._base or None):
                # A console's marker for a folder is no object of anybody's.
                found |= {m["path"]: m["size"] for m in page if m["size"] or not m["path"].endswith("/")}
        except FileNotFoundError:
            return {}
        except (BaseError, OSError) as error:
            raise self._translated(error, "list") from None  # its text may show credentials
        prefix = f"{self._base}/" if self._base else ""
        return {key: size for key, size in found.items() if key.startswith(prefix)}

    async def _remote_sha256(self, file: LocalFile) -> str:
        digest = hashlib.sha256()
        read = 0
        try:
            answer = await obstore.get_async(self._store, self._key(file))
            async for chunk in answer.stream(min_chunk_size=_CHUNK):
                digest.update(chunk)
                read += len(chunk)
                self._tell(PushProgress(f"comparing {file.path}", read, file.size))
        except (BaseError, OSError) as error:
            raise self._translated(error, "get") from None  # as above
        return digest.hexdigest()

    async def _upload(self, files: Sequence[LocalFile]) -> None:
        total = sum(file.size for file in files)
        free = asyncio.Semaphore(_AT_A_TIME)

        async def one(file: LocalFile) -> None:
            async with free:
                await self._put(file, total)

        try:
            async with asyncio.TaskGroup() as group:
                for file in files:
                    group.create_task(one(file))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the others have ended for the same cause, or because of it

    async def _put(self, file: LocalFile, total: int) -> None:
        digest = hashlib.sha256()

        async def chunks() -> AsyncIterator[bytes]:
            with file.source.open("rb", buffering=0) as stream:
                while chunk := await asyncio.to_thread(stream.read, _CHUNK):
                    digest.update(chunk)
                    yield chunk
                    self._done += len(chunk)
                    self._tell(PushProgress("uploading", self._done, total))

        try:
            content: Any = chunks() if file.size > _CHUNK else await asyncio.to_thread(file.source.read_bytes)
            if isinstance(content, bytes):
                digest.update(content)
            await obstore.put_async(
                self._store,
                self._key(file),
                content,
                chunk_size=max(_CHUNK, -(-file.size // _MOST_PARTS)),
                max_concurrency=_AT_A_TIME,
            )
        except (BaseError, OSError) as error:
            raise self._translated(error, "put") from None  # as above
        if isinstance(content, bytes):
            self._done += len(content)
            self._tell(PushProgress("uploading", self._done, total))
        if digest.hexdigest() != file.sha256:
            raise StorageError(
                Reason.UPLOAD_FAILED,
                f"{file.source} changed while it was uploaded",
                remedy="push it again when it rests",
            )

    def _translated(self, error: Exception, right: str) -> StorageError:
        found = translate(error, self._shown)
        if not isinstance(found, StorageError):  # a precondition that we did not set
            return StorageError(
                Reason.UPLOAD_FAILED, f"{self._shown} was changed by somebody else", remedy="push it again"
            )
        if found.reason is Reason.ACCESS_DENIED:
            return StorageError(found.reason, found.message, remedy=_access_remedy(self._uri.scheme, right))
        if found.reason in {Reason.DOWNLOAD_FAILED, Reason.DOWNLOAD_STALLED}:
            return StorageError(Reason.UPLOAD_FAILED, found.message, remedy=found.remedy)
        return found


def destination(text: str, artifact: LocalArtifact) -> StorageUri:
    """The URI that an artifact is pushed to: below one that ends in ``/``, a single file keeps its name.

    Raises:
        StorageError: it cannot be pushed to, or pins another digest.
    """
    uri = parse_uri(text)
    if uri.scheme not in PUSH_SCHEMES:
        raise StorageError(
            Reason.UNSUPPORTED_SCHEME,
            f"nothing can be pushed to {uri}",
            remedy=f"use one of {', '.join(f'{scheme}://' for scheme in PUSH_SCHEMES)}",
        )
    if uri.digest is not None and uri.digest != artifact.digest:
        raise StorageError(
            Reason.DIGEST_MISMATCH,
            f"the artifact is {artifact.digest}, the URI says {uri.digest}",
            remedy="correct one",
        )
    if artifact.single and (not uri.path or uri.path.endswith("/")):
        return parse_uri(f"{uri.text.rstrip('/')}/{artifact.files[0].path}")
    return parse_uri(uri.text)


def _store(uri: StorageUri, environment: Mapping[str, str]) -> tuple[ObjectStore, str]:
    """The store, and the key or prefix in it."""
    if uri.scheme == "file":
        path = Path(uri.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                Reason.DESTINATION_UNUSABLE, f"{path.parent} cannot be made: {error.strerror}", remedy="check the path"
            ) from error
        return LocalStore(path.parent), path.name
    # The endpoint is the user's own, on the user's own machine: it may well be this one.
    options = FetchOptions.from_environment(environment, allow_private_hosts=True)
    return open_store(uri, options, environment, retries=_RETRIES), uri.path.rstrip("/")


def _silent(_: PushProgress) -> None:
    """Nobody asked."""


def _occupied(shown: str, others: Sequence[str]) -> StorageError:
    names = ", ".join(others[:_LISTED]) + (f" and {len(others) - _LISTED} more" if len(others) > _LISTED else "")
    return StorageError(
        Reason.DIFFERENT_CONTENT,
        f"{shown} holds objects that are not part of the artifact: {names}",
        remedy="choose another prefix, such as one with a version in it, or delete them",
    )


def _different(shown: str, names: Sequence[str], *, single: bool) -> StorageError:
    what = "" if single else f" in {', '.join(names[:_LISTED])}{' and others' if len(names) > _LISTED else ''}"
    return StorageError(
        Reason.DIFFERENT_CONTENT,
        f"{shown} is there already, with other content{what}",
        remedy="choose another URI, such as one with a version in it, or overwrite it with --force",
    )


_RIGHTS: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": {"put": "s3:PutObject", "get": "s3:GetObject", "list": "s3:ListBucket and s3:GetObject"},
    "gs": {"put": "storage.objects.create", "get": "storage.objects.get", "list": "storage.objects.list"},
    "az": {
        "put": "Storage Blob Data Contributor",
        "get": "Storage Blob Data Reader",
        "list": "Storage Blob Data Reader",
    },
}
_CREDENTIALS: Final[Mapping[str, str]] = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, such as by: "
    'eval "$(aws configure export-credentials --format env)"',
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCESS_KEY, or AZURE_STORAGE_SAS_TOKEN",
}


def _access_remedy(scheme: str, right: str) -> str:
    if scheme == "file":
        return "check the permissions of the folder"
    return f"the credentials need {_RIGHTS[scheme][right]} there; set them by {_CREDENTIALS[scheme]}"
