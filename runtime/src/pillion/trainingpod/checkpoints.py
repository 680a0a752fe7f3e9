"""Checkpoints of a training in a bucket, so that another pod on another node goes on from them.

A checkpoint's manifest, which holds the digest of its files, is uploaded after them: what has one is whole. What comes
back is believed only if the digest says so. Uploads run beside the training, one at a time, the newest first; a copy by
links keeps what is being uploaded from being removed by the training meanwhile.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import threading
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypeVar

import obstore
from obstore.exceptions import BaseError

from pillion.authoring.checkpoints import KEPT, Checkpoints
from pillion.storage import FetchOptions, Reason, StorageError, parse_uri
from pillion.storage.names import safe_name
from pillion.storage.objectstore import open_store, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

__all__ = ["RemoteCheckpoints", "Uploader"]

_Result = TypeVar("_Result")
_MANIFEST: Final = "checkpoint.json"
_AT_A_TIME: Final = 4
_CHUNK: Final = 8 << 20
_RETRIES: Final = {"max_retries": 4, "retry_timeout": dt.timedelta(seconds=60)}


class RemoteCheckpoints:
    """The checkpoints below one prefix.

    Args:
        uri: the prefix, of scheme s3, gs or az.
        environment: the providers' variables.
    """

    def __init__(self, uri: str, environment: Mapping[str, str]) -> None:
        parsed = parse_uri(uri)
        self._shown = str(parsed)
        self._base = parsed.path.rstrip("/")
        options = FetchOptions.from_environment(environment, allow_private_hosts=True)
        self._store = open_store(parsed, options, environment, retries=_RETRIES)

    def restore(self, folder: Path) -> int | None:
        """Bring the newest checkpoint that is whole into a folder of checkpoints; its number, None where there is none.

        Raises:
            StorageError: the store refuses, or does not answer.
        """
        return asyncio.run(self._translated(self._restore(folder)))

    def upload(self, number: int, checkpoint: Path) -> None:
        """Upload one, and remove those that nobody needs any more.

        Raises:
            StorageError: as above; those before it are still there.
        """
        asyncio.run(self._translated(self._upload(number, checkpoint)))

    def remove(self) -> None:
        """Remove all of them.

        Raises:
            StorageError: as above.
        """
        asyncio.run(self._translated(self._remove()))

    async def _translated(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        try:
            return await work
        except (BaseError, OSError) as error:
            found = translate(error, self._shown)
            if isinstance(found, StorageError):
                raise found from None  # its text may show credentials
            raise StorageError(
                Reason.UPLOAD_FAILED, f"{self._shown} was changed by somebody else", remedy="try again", transient=True
            ) from None

    async def _there(self) -> dict[int, list[str]]:
        """The keys of each checkpoint, whole or not, by its number."""
        found: dict[int, list[str]] = {}
        async for page in obstore.list(self._store, self._base or None):
            for meta in page:
                number = meta["path"].removeprefix(f"{self._base}/").partition("/")[0]
                if number.isdigit():
                    found.setdefault(int(number), []).append(meta["path"])
        return found

    async def _restore(self, folder: Path) -> int | None:
        there = await self._there()
        for number in sorted(there, reverse=True):
            if self._manifest(number) not in there[number]:
                continue
            partial = folder / f".{number}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            for key in there[number]:
                await self._download(key, partial / safe_name(self._within(number, key), reason=Reason.UNSAFE_PATH))
            (partial / "content").mkdir(exist_ok=True)  # of a checkpoint that is its state alone
            shutil.rmtree(folder / str(number), ignore_errors=True)
            partial.rename(folder / str(number))
            newest = Checkpoints(folder).newest()
            if newest is not None and newest.number == number:
                return number
            shutil.rmtree(folder / str(number), ignore_errors=True)
        return None

    async def _download(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = await obstore.get_async(self._store, key)
        with path.open("wb") as file:
            async for chunk in answer.stream(min_chunk_size=_CHUNK):
                await asyncio.to_thread(file.write, chunk)

    async def _upload(self, number: int, checkpoint: Path) -> None:
        files = await asyncio.to_thread(_files, checkpoint)
        # An upload of this number that broke off, or one that was not whole, must not become a part of this one.
        await self._delete((await self._there()).get(number, []))
        free = asyncio.Semaphore(_AT_A_TIME)

        async def one(path: Path) -> None:
            async with free:
                await obstore.put_async(self._store, self._key(number, checkpoint, path), path)

        try:
            async with asyncio.TaskGroup() as group:
                for path in files:
                    if path != checkpoint / _MANIFEST:
                        group.create_task(one(path))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        await one(checkpoint / _MANIFEST)
        there = await self._there()
        kept = sorted(known for known in there if self._manifest(known) in there[known])[-KEPT:]
        for old, keys in there.items():
            if old < min(kept, default=0):
                await self._delete(keys)

    async def _remove(self) -> None:
        for keys in (await self._there()).values():
            await self._delete(keys)

    async def _delete(self, keys: list[str]) -> None:
        # Without its manifest a checkpoint counts no more, so that goes first.
        for key in sorted(keys, key=lambda key: not key.endswith(f"/{_MANIFEST}")):
            await obstore.delete_async(self._store, key)

    def _manifest(self, number: int) -> str:
        return "/".join(part for part in (self._base, str(number), _MANIFEST) if part)

    def _within(self, number: int, key: str) -> str:
        return key.removeprefix(self._manifest(number).removesuffix(_MANIFEST))

    def _key(self, number: int, checkpoint: Path, path: Path) -> str:
        relative = PurePosixPath(path.relative_to(checkpoint)).as_posix()
        return self._manifest(number).removesuffix(_MANIFEST) + relative


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


class Uploader:
    """Uploads checkpoints as they are made, in a thread of its own.

    Args:
        remote: where they go.
        folder: of the training's checkpoints.
        every: seconds between two beginnings of uploads, at least.
        told: what to say of each that was uploaded or could not be, number and the trouble that there was. One that was
            gone before its turn came, because newer ones had been made, is not told of.
    """

    def __init__(self, remote: RemoteCheckpoints, folder: Path, every: float, told: Callable[[int, str], None]) -> None:
        self._remote = remote
        self._folder = folder
        self._every = every
        self._told = told
        self._woken = threading.Condition()
        self._wanted = 0
        self._tried = 0
        self._uploaded = 0
        self._ending = self._tried_at_end = False
        self._began = float("-inf")
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    def wanted(self, number: int) -> None:
        """There is a new checkpoint."""
        with self._woken:
            self._wanted = max(self._wanted, number)
            self._woken.notify_all()

    def close(self, *, upload: bool) -> None:
        """End, where wanted after the newest is uploaded: one that could not be is tried once more."""
        with self._woken:
            self._ending = True
            if not upload:
                self._wanted = 0
            self._woken.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while (number := self._next()) is not None:
            self._began = time.monotonic()
            trouble = self._upload(number)
            if trouble is None:
                continue
            if not trouble:
                self._uploaded = number
            self._told(number, trouble)

    def _next(self) -> int | None:
        with self._woken:
            while True:
                left = 0.0 if self._ending else self._began + self._every - time.monotonic()
                if self._wanted > self._tried and left <= 0:
                    self._tried = self._wanted
                    return self._wanted
                if self._ending:
                    again = self._wanted > self._uploaded and not self._tried_at_end
                    self._tried_at_end = True
                    return self._wanted if again else None
                self._woken.wait(left if self._wanted > self._tried else None)

    def _upload(self, number: int) -> str | None:
        """Upload it; what went wrong, empty where nothing did, None where it was not there any more."""
        copy = self._folder / ".uploading"
        shutil.rmtree(copy, ignore_errors=True)
        try:
            shutil.copytree(self._folder / str(number), copy, copy_function=os.link)
            if self._is_leaving(number):
                return None
            self._remote.upload(number, copy)
        except StorageError as error:
            return str(error)
        except (OSError, shutil.Error) as error:
            return None if self._is_leaving(number) else f"it cannot be read: {error}"
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        return ""

    def _is_leaving(self, number: int) -> bool:
        """Whether newer ones are there for which the training removes it: a copy made meanwhile may lack files."""
        there = [int(found.name) for found in self._folder.glob("[0-9]*") if found.name.isdigit()]
        return sum(found > number for found in there) >= KEPT
