"""Models that MLflow knows, as a source: ``models:/name/version``, ``models:/name@alias``, ``runs:/run/path``.

The tracking server says where the files are (`pillion.storage.mlflow_places`). Where that is a bucket, this source
hands on to the bucket's, and the server has no further part in it. Files that the server gives out itself
(``mlflow-artifacts:``) come from it, listed folder by folder, and go on after a break under the ETag that it states.
Source: MLflow, "REST API" and "MLflow Artifacts".
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

from pillion.storage.errors import Reason, StorageError
from pillion.storage.local import too_many_files
from pillion.storage.mlflow_places import place_of
from pillion.storage.mlflow_server import TrackingServer
from pillion.storage.names import safe_name
from pillion.storage.source import Body, Listing, Source, SourceObject
from pillion.storage.uri import parse_uri, redact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, MutableSequence, Sequence

    from pillion.storage.options import FetchOptions
    from pillion.storage.uri import StorageUri

__all__ = ["MlflowSource"]

_LOGGER: Final = logging.getLogger("pillion.storage")
_ARTIFACTS: Final = "mlflow-artifacts/artifacts"


class _Opener(Protocol):
    def __call__(self, uri: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> Source: ...


class MlflowSource:
    """What one URI of MLflow's stands for."""

    def __init__(self, uri: StorageUri, options: FetchOptions, environment: Mapping[str, str], opener: _Opener) -> None:
        self._uri = uri
        self._options = options
        self._environment = environment
        self._opener = opener
        self._server = TrackingServer(options, environment)
        self._other: Source | None = None
        self._folders = 0

    async def list(self, *, versions: bool) -> Listing:
        """The files of the folder that the server names."""
        place = await place_of(self._uri, self._server)
        _LOGGER.info(
            "%s is %s", self._uri, redact(place),
            extra={"fields": {"event": "storage.resolved", "uri": str(self._uri), "place": redact(place)}},
        )  # fmt: skip
        scheme = urlsplit(place).scheme
        if scheme != "mlflow-artifacts":
            folder = f"{place.rstrip('/')}/"
            try:
                return await self._list_elsewhere(folder, versions=versions)
            except StorageError as error:
                if error.reason is not Reason.OBJECT_NOT_FOUND or self._uri.scheme != "runs":
                    raise
            return await self._list_elsewhere(place, versions=versions)  # a run has logged single files, too
        if not self._server.is_at(urlsplit(place).netloc):
            raise StorageError(
                Reason.UNSUPPORTED_SCHEME,
                f"{self._uri} is at {redact(place)[:200]}, which is another server than MLFLOW_TRACKING_URI names",
                remedy="name that server in MLFLOW_TRACKING_URI",
            )
        root = urlsplit(place).path.strip("/")
        objects: list[SourceObject] = []
        self._folders = 0
        await self._collect(root, "", objects)
        if not objects:
            return await self._only_file(root)
        return Listing(tuple(sorted(objects, key=lambda item: item.path)), single=False)

    @asynccontextmanager
    async def open(self, item: SourceObject, offset: int, version: str | None) -> AsyncIterator[Body]:
        """Stream a file; from `offset` only where there is a version to guard it with."""
        if self._other is not None:
            async with self._other.open(item, offset, version) as body:
                yield body
            return
        headers: dict[str, str] = {}
        if offset and version is not None:
            headers["Range"] = f"bytes={offset}-"
            headers["If-Match" if version.startswith('"') else "If-Unmodified-Since"] = version
        exchange = await self._server.get(f"{_ARTIFACTS}/{quote(item.key)}", headers, f"file {item.path}")
        try:
            yield exchange.body(f"{self._uri} ({item.path})", item.path)
        finally:
            exchange.abort()

    async def close(self) -> None:
        """Close what it was handed on to."""
        if self._other is not None:
            await self._other.close()
            self._other = None

    async def _list_elsewhere(self, place: str, *, versions: bool) -> Listing:
        """List a folder (with a slash at its end) or a file of another source, which `open` hands on to from then."""
        await self.close()  # what a try before this one opened
        there = self._elsewhere(place)
        self._other = await asyncio.to_thread(self._opener, there, self._options, self._environment)
        return await self._other.list(versions=versions)

    async def _only_file(self, path: str) -> Listing:
        """The file that a path stands for; nothing where it is none, either."""
        folder, _, name = path.rpartition("/")
        objects = [
            SourceObject(path, safe_name(name, reason=Reason.UNSAFE_PATH), size, None)
            for found, is_folder, size in await self._entries(folder)
            if found == name and not is_folder
        ]
        return Listing(tuple(objects), single=bool(objects))

    async def _entries(self, folder: str) -> Sequence[tuple[str, bool, int | None]]:
        told = await self._server.ask(f"{_ARTIFACTS}?{urlencode({'path': folder})}", f"files of {self._uri}")
        files = told.get("files") or []
        if not isinstance(files, list):
            raise self._server.strange()
        return [_entry(entry, self._server) for entry in files]

    async def _collect(self, root: str, below: str, objects: MutableSequence[SourceObject]) -> None:
        """List a folder and those in it; `safe_name` bounds how deep they are."""
        self._folders += 1
        if self._folders > self._options.max_files:  # each is a question, and a server may name folders without end
            raise too_many_files(self._options.max_files)
        folder = "/".join(part for part in (root, below) if part)
        for name, is_folder, size in await self._entries(folder):
            path = safe_name("/".join(part for part in (below, name) if part), reason=Reason.UNSAFE_PATH)
            if not path or path == below:
                raise self._server.strange()
            if is_folder:
                await self._collect(root, path, objects)
                continue
            if len(objects) >= self._options.max_files:
                raise too_many_files(self._options.max_files)
            objects.append(SourceObject(f"{root}/{path}" if root else path, path, size, None))

    def _elsewhere(self, place: str) -> StorageUri:
        """The place as one of our own URIs."""
        text = place
        if text.startswith(("wasbs://", "wasb://")):
            text = f"abfss://{text.partition('://')[2].replace('.blob.core.', '.dfs.core.', 1)}"
        if text.startswith("/"):
            text = f"file://{text}"
        scheme = text.partition(":")[0]
        known = {"s3": "s3", "gs": "gs", "abfss": "az", "abfs": "az", "file": "file"}.get(scheme)
        if known == "file" and not self._options.allow_private_hosts:
            raise StorageError(
                Reason.FORBIDDEN_ADDRESS,
                f"{self._uri} is at {redact(place)[:200]}, a folder of the tracking server's machine",
                remedy="start the server with --serve-artifacts, or give the experiment a place in a bucket; on that "
                "machine itself set PILLION_STORAGE_ALLOW_PRIVATE_HOSTS=true",
            )
        if known is None:
            raise StorageError(
                Reason.UNSUPPORTED_SCHEME,
                f"{self._uri} is at {redact(place)[:200]}, which is fetched from nowhere",
                remedy="start the server with --serve-artifacts, or keep models in s3:// gs:// or Azure",
            )
        return parse_uri(text)


def _entry(entry: Any, server: TrackingServer) -> tuple[str, bool, int | None]:  # noqa: ANN401 - JSON
    try:
        size = entry.get("file_size")
        return str(entry["path"]), bool(entry.get("is_dir")), None if size is None else int(size)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise server.strange() from None
