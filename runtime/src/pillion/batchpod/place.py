"""Files by their keys in a bucket or a folder, alike: obstore knows both, and writes each whole or not at all.

Blocking; from any thread. Every error is a `StorageError` that says whether trying again can help.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError
from obstore.store import LocalStore

from pillion.storage import FetchOptions, Reason, StorageError, parse_uri
from pillion.storage.objectstore import open_store, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from _typeshed import WriteableBuffer

__all__ = ["Found", "Place"]

_RETRIES: Final = {"max_retries": 4, "retry_timeout": dt.timedelta(seconds=60)}
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A file: its key, its size in bytes, and what changes when its content does."""

    key: str
    size: int
    version: str


class Place:
    """What lies below a URI.

    Args:
        uri: of scheme s3, gs, az or file; a trailing `/`, or a pattern, is part of `key`.
        environment: the providers' variables.
    """

    def __init__(self, uri: str, environment: Mapping[str, str]) -> None:
        parsed = parse_uri(uri)
        self.shown, self.key = str(parsed), parsed.path
        if parsed.scheme == "file":
            # The root of the file system: keys are absolute paths without their first slash.
            self.root, self.key = "file://", parsed.path.lstrip("/")
            self._store: Any = LocalStore("/")
            return
        self.root = f"{parsed.scheme}://{parsed.account or ''}/{parsed.authority}"
        options = FetchOptions.from_environment(environment, allow_private_hosts=True)
        self._store = open_store(parsed, options, environment, retries=_RETRIES)

    def below(self, *names: str) -> str:
        """The key of something below this place."""
        return "/".join((self.key.rstrip("/"), *names)).lstrip("/")

    def head(self, key: str) -> Found | None:
        """The file of exactly that key, None where there is none."""
        if not key:
            return None
        with self._translated():
            try:
                meta = obstore.head(self._store, key)
            except FileNotFoundError:
                return None
            return Found(meta["path"], meta["size"], meta["e_tag"] or "")

    def list(self, prefix: str) -> Iterator[Found]:
        """Every file below a folder, in the order of the store, page by page: there may be millions of others."""
        with self._translated():
            for page in obstore.list(self._store, prefix.rstrip("/") or None):
                for meta in page:
                    yield Found(meta["path"], meta["size"], meta["e_tag"] or "")

    def read(self, key: str) -> bytes | None:
        """A small file, None where there is none."""
        with self._translated():
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError:
                return None

    def stream(self, file: Found, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end` of the file as it was when it was found."""
        if start >= end:
            return
        options: dict[str, Any] = {"range": (start, end)}
        if file.version:
            options["if_match"] = file.version
        with self._translated():
            answer = obstore.get(self._store, file.key, options=cast("Any", options))
            for chunk in answer.stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)

    def reading(self, file: Found) -> io.BufferedReader:
        """The file with `seek` and `read`, for readers that want its end first."""
        return io.BufferedReader(_Ranges(self, file), _CHUNK)

    def write(self, key: str, content: bytes | Path) -> None:
        """Write it in place of what is there."""
        with self._translated():
            obstore.put(self._store, key, content)

    def write_once(self, key: str, content: bytes) -> None:
        """Write it where nothing is; else leave what is there."""
        with self._translated(), contextlib.suppress(AlreadyExistsError):
            obstore.put(self._store, key, content, mode="create")

    def remove(self, key: str) -> None:
        """Remove it, if it is there."""
        with self._translated(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except (BaseError, OSError) as error:
            if isinstance(self._store, LocalStore) and isinstance(error, PermissionDeniedError | PermissionError):
                raise StorageError(
                    Reason.DESTINATION_UNUSABLE,
                    f"the pod's user may not use {self.shown}",
                    remedy="set securityContext.fsGroup to a group that may",
                ) from None
            found = translate(error, self.shown)
            # From None: its text may show credentials.
            raise (found if isinstance(found, StorageError) else changed(self.shown)) from None


class _Ranges(io.RawIOBase):
    """A file that is read by requests for its ranges."""

    def __init__(self, place: Place, file: Found) -> None:
        super().__init__()
        self._place = place
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        found = b"".join(self._place.stream(self._file, self._at, min(self._at + len(view), self._file.size)))
        view[: len(found)] = found
        self._at += len(found)
        return len(found)


def changed(shown: str) -> StorageError:
    """Somebody has written a file of the input meanwhile."""
    return StorageError(
        Reason.DIFFERENT_CONTENT,
        f"a file of {shown} was changed while it was read",
        remedy="create a BatchPrediction of another name, and leave its input alone until it has ended",
    )
