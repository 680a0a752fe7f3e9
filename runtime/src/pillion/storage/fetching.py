"""Fetch an artifact: list, download, verify, unpack, place.

Safe to repeat: an artifact that is in place is kept, a placing that was interrupted is completed, a download that was
interrupted is continued.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.storage.archive import archive_format, unpack
from pillion.storage.artifact import Artifact, ArtifactFile, Kind, SourceVersion, is_intact, read_record
from pillion.storage.digest import tree_digest
from pillion.storage.download import Downloaded, backoff_seconds, deadline, download, log_retry, too_large
from pillion.storage.errors import Reason, StorageError
from pillion.storage.local import LocalSource
from pillion.storage.options import FetchOptions
from pillion.storage.place import Staging, destination_lock, disk_error, require_space
from pillion.storage.progress import Meter
from pillion.storage.uri import MLFLOW_SCHEMES, StorageUri, parse_uri
from pillion.to_the_end import to_the_end

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.storage.progress import Progress
    from pillion.storage.source import Listing, Source, SourceObject

__all__ = ["fetch", "fetch_sync"]

# What these leave in the staging directory is wrong, or in the way; anything else can be continued.
_DISCARD_AFTER: Final = frozenset(
    {
        Reason.DIGEST_MISMATCH,
        Reason.UNSAFE_ARCHIVE,
        Reason.CORRUPT_ARCHIVE,
        Reason.UNSAFE_PATH,
        Reason.TOO_LARGE,
        Reason.DISK_FULL,
    }
)


async def fetch(
    uri: StorageUri | str,
    dest: Path,
    options: FetchOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Artifact:
    """Put what `uri` names into the directory `dest`; an object keeps its name, a tree its relative paths.

    Args:
        uri: the source; see `pillion.storage.uri`.
        dest: a directory, made where it does not exist. It may hold files of others, which are left alone.
        options: settings; those of the environment, where not given.
        progress: called on the event loop, at most some five times a second.
        environment: where credentials, endpoints and, without `options`, settings come from; `os.environ` if None.
            The providers' default chains read `os.environ` in any case.

    Returns:
        The artifact in place; its `Artifact.model_path` is what to load.

    Raises:
        StorageError: with a reason, a sentence and a remedy. What was downloaded stays for the next call where that
            can be of use.
    """
    environment = os.environ if environment is None else environment
    options = FetchOptions.from_environment(environment) if options is None else options
    parsed = parse_uri(uri) if isinstance(uri, str) else uri
    expected = _expected_digest(parsed, options)
    dest = Path(dest).absolute()  # noqa: ASYNC240  (asks for the working directory, touches no disk)
    meter = Meter(str(parsed), progress)
    async with destination_lock(dest):
        staging = Staging(dest)
        try:
            await to_the_end(staging.recover)
            candidate = await asyncio.to_thread(_candidate, dest, parsed, expected, options)
            if candidate is not None and options.reuse == "always":
                meter.enter("done")
                return candidate
            artifact = await _fetch(parsed, staging, options, expected, candidate, meter, environment)
        except OSError as error:
            raise disk_error(error, dest) from error
        except StorageError as error:
            if error.reason in _DISCARD_AFTER:
                await asyncio.to_thread(staging.discard)
            raise
        meter.enter("done")
        return artifact


def fetch_sync(
    uri: StorageUri | str,
    dest: Path,
    options: FetchOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Artifact:
    """`fetch` for callers without an event loop."""
    return asyncio.run(fetch(uri, dest, options, progress))


def _expected_digest(uri: StorageUri, options: FetchOptions) -> str | None:
    if uri.digest and options.digest and uri.digest != options.digest:
        raise StorageError(
            Reason.INVALID_SETTING,
            f"the storage URI asks for {uri.digest}, the digest setting for {options.digest}",
            remedy="give the digest in one place",
        )
    return uri.digest or options.digest


def _candidate(dest: Path, uri: StorageUri, expected: str | None, options: FetchOptions) -> Artifact | None:
    """The artifact that is in place already, if it is this one and unharmed."""
    found = read_record(dest)
    if found is None or options.reuse == "never" or found.uri_identity != _identity(uri, options):
        return None
    if expected is not None and found.digest != expected:
        return None
    return replace(found, reused=True) if is_intact(found, rehash=expected is not None) else None


def _identity(uri: StorageUri, options: FetchOptions) -> str:
    return uri.identity if options.unpack else f"{uri.identity}-packed"


def open_source(uri: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> Source:
    """The source for a URI; libraries are imported only for the scheme that needs them.

    Raises:
        StorageError: `Reason.UNSUPPORTED_SCHEME`, `Reason.INVALID_SETTING`, `Reason.FORBIDDEN_ADDRESS`.
    """
    if uri.scheme == "file":
        return LocalSource(Path(uri.path), link_root=options.link_root, max_files=options.max_files)
    if uri.scheme in {"http", "https"}:
        from pillion.storage.web import WebSource  # noqa: PLC0415  (ssl and http.client only where needed)

        return WebSource(uri, options, environment)
    if uri.scheme == "hf":
        from pillion.storage.hub import HubSource  # noqa: PLC0415  (as above)

        return HubSource(uri, options, environment)
    if uri.scheme == "oci":
        from pillion.storage.oci import OciSource  # noqa: PLC0415  (as above)

        return OciSource(uri, options, environment)
    if uri.scheme in MLFLOW_SCHEMES:
        from pillion.storage.mlflow import MlflowSource  # noqa: PLC0415  (as above)

        return MlflowSource(uri, options, environment, open_source)
    if uri.scheme in {"pvc", "configmap"}:
        raise StorageError(
            Reason.UNSUPPORTED_SCHEME,
            f"{uri} can only be mounted by Kubernetes, and is not mounted here",
            remedy="apply the manifest in a cluster, or name a directory with file:///path",
        )
    try:
        from pillion.storage.objectstore import ObjectStoreSource  # noqa: PLC0415  (obstore is an extra)
    except ImportError as error:
        raise StorageError(
            Reason.UNSUPPORTED_SCHEME,
            f"{uri.scheme}: needs the package obstore, which is not installed",
            remedy="pip install 'pillion[storage]'",
        ) from error
    return ObjectStoreSource(uri, options, environment)


async def _fetch(
    uri: StorageUri,
    staging: Staging,
    options: FetchOptions,
    expected: str | None,
    candidate: Artifact | None,
    meter: Meter,
    environment: Mapping[str, str],
) -> Artifact:
    meter.enter("listing")
    source = await asyncio.to_thread(open_source, uri, options, environment)
    try:
        listing = await _list(source, uri, options, versions=candidate is not None)
        if listing.digest is not None:
            _require_digest(uri, listing.digest, expected)
        if candidate is not None and _unchanged(candidate, listing):
            return candidate
        _check_sizes(uri, listing, options)
        await asyncio.to_thread(staging.prepare, _identity(uri, options))
        require_space(staging.destination, _missing_bytes(listing, staging))
        found = await _download_all(source, listing, staging, options, meter, uri)
    finally:
        await source.close()
    return await _install(uri, listing, found, staging, options, expected, meter)


async def _list(source: Source, uri: StorageUri, options: FetchOptions, *, versions: bool) -> Listing:
    attempt = 0
    while True:
        try:
            async with deadline(options.stall_seconds, str(uri)):
                return await source.list(versions=versions)
        except StorageError as error:
            attempt += 1
            if not error.transient or attempt >= options.attempts:
                raise
            pause = error.retry_after or backoff_seconds(attempt, options.backoff_seconds, random.random())  # noqa: S311  (jitter, not a secret)
            log_retry(error, str(uri), attempt, options.attempts, pause, 0)
            await asyncio.sleep(pause)


def _unchanged(candidate: Artifact, listing: Listing) -> bool:
    now = {(item.key, item.size, item.version) for item in listing.objects}
    if None in {item.version for item in listing.objects} or listing.digest not in {None, candidate.digest}:
        return False
    return now == {(item.key, item.size, item.version) for item in candidate.sources}


def _check_sizes(uri: StorageUri, listing: Listing, options: FetchOptions) -> None:
    if not listing.objects:
        raise StorageError(Reason.OBJECT_NOT_FOUND, f"{uri} has no files in it", remedy="check the path")
    total = sum(item.size or 0 for item in listing.objects)
    if options.max_bytes and total > options.max_bytes:
        raise too_large(str(uri), total, options.max_bytes)
    names = {item.path for item in listing.objects}
    for name in names:
        if any(parent.as_posix() in names for parent in Path(name).parents):
            raise StorageError(
                Reason.UNSAFE_PATH,
                f"{uri} has an object whose name is a directory of another one: {name[:120]!a}",
                remedy="rename one of the two objects",
            )


def _missing_bytes(listing: Listing, staging: Staging) -> int:
    missing = 0
    for item in listing.objects:
        path = staging.data / item.path
        present = path.stat().st_size if path.is_file() else 0
        missing += max(0, (item.size or 0) - present)
    return missing


async def _download_all(
    source: Source, listing: Listing, staging: Staging, options: FetchOptions, meter: Meter, uri: StorageUri
) -> dict[str, Downloaded]:
    sizes = [item.size for item in listing.objects]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    meter.expect(total=total, files=len(listing.objects))
    meter.enter("downloading")
    queue = iter(listing.objects)
    found: dict[str, Downloaded] = {}

    async def worker() -> None:
        for item in queue:  # shared: each object goes to one worker
            found[item.path] = await download(source, item, staging, options, meter, str(uri))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(options.concurrency, len(listing.objects))):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    return found


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to report, of those that ended the workers."""
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _install(
    uri: StorageUri,
    listing: Listing,
    found: dict[str, Downloaded],
    staging: Staging,
    options: FetchOptions,
    expected: str | None,
    meter: Meter,
) -> Artifact:
    meter.enter("verifying")
    files = tuple(sorted((item.file for item in found.values()), key=lambda file: file.path))
    kind: Kind = "file" if listing.single else "tree"
    digest = listing.digest or (f"sha256:{files[0].sha256}" if listing.single else _tree(files))
    _require_digest(uri, digest, expected)
    where = staging.data
    packed = archive_format(files[0].path) if listing.single and options.unpack else None
    if packed is not None or listing.assemble is not None:
        meter.enter("unpacking")
        kind, where = "archive", staging.tree
        stop = threading.Event()
        if listing.assemble is not None:
            work = partial(listing.assemble, staging.data, staging.tree, options, stop)
        else:
            work = partial(unpack, staging.data / files[0].path, packed or "", staging.tree, options, stop)
        files = await to_the_end(work, stop)
    meter.enter("placing")
    artifact = Artifact(
        uri=str(uri),
        uri_identity=_identity(uri, options),
        root=staging.destination,
        kind=kind,
        digest=digest,
        tree_digest=_tree(files),
        size=sum(file.size for file in files),
        files=files,
        sources=tuple(_source_version(item, found[item.path]) for item in listing.objects),
        fetched_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )
    await to_the_end(partial(_commit, staging, artifact, where))
    return artifact


def _commit(staging: Staging, artifact: Artifact, where: Path) -> None:
    if where == staging.data:
        _remove_strays(where, {file.path for file in artifact.files})
    staging.commit(artifact, where)


def _remove_strays(data: Path, wanted: set[str]) -> None:
    """Remove what an earlier run downloaded and the source no longer has."""
    for path in sorted(data.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(data).as_posix() not in wanted:
            path.unlink()


def _source_version(item: SourceObject, got: Downloaded) -> SourceVersion:
    return SourceVersion(item.key, got.file.size, got.version)


def _tree(files: tuple[ArtifactFile, ...]) -> str:
    return tree_digest((file.path, file.size, file.sha256) for file in files)


def _require_digest(uri: StorageUri, actual: str, expected: str | None) -> None:
    if expected is not None and actual != expected:
        raise StorageError(
            Reason.DIGEST_MISMATCH,
            f"{uri} has the digest {actual}, expected was {expected}",
            remedy="if the source was meant to change, give the new digest; else find out who changed it",
        )
