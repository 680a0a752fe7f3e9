"""Models of the Hugging Face Hub, and of servers that speak its protocol, as a source.

The hub names the commit of a revision (``GET /api/models/{model}/revision/{revision}``) and lists its files, in pages
that a Link header leads through (``GET /api/models/{model}/tree/{commit}?recursive=true``). They are fetched from that
commit (``GET /{model}/resolve/{commit}/{file}``), so a branch that moves meanwhile mixes nothing. What a commit holds
never changes, so a broken download goes on without a validator; a large file is held to the SHA-256 that the hub states
of it. Source: huggingface.co/docs/hub/api.

Variables: ``HF_ENDPOINT`` for another server, ``HF_TOKEN`` for models that are not open to everybody. The token goes to
the endpoint only, not to the stores that it redirects to, and never without encryption but on this machine. Proxies of
the environment (``HTTPS_PROXY``, ``NO_PROXY``) are used, as they are for buckets.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from pillion.proxies import on_this_machine
from pillion.storage.errors import Reason, StorageError
from pillion.storage.exchange import Exchange, is_server, tls_context
from pillion.storage.names import safe_name
from pillion.storage.source import Body, Listing, SourceObject
from pillion.storage.uri import redact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from pillion.storage.options import FetchOptions
    from pillion.storage.uri import StorageUri

__all__ = ["HubSource", "needed"]

_LOGGER: Final = logging.getLogger("pillion.storage")
_ENDPOINT: Final = "https://huggingface.co"
_MAX_LISTING: Final = 32 << 20
#: Weights in other formats, which nobody needs who has them in safetensors: copies for other frameworks, and pickles.
_OTHER_WEIGHTS: Final = frozenset(
    {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".ot", ".tflite"}
)
_OTHER_FOLDERS: Final = frozenset({"original", "coreml", "openvino", "flax", "tf"})
_NEXT: Final = re.compile(r'<([^<>]*)>;[^<>,]*\brel="?next\b')
_NEVER: Final = frozenset({".gitattributes", ".gitignore"})


class HubSource:
    """The files of one revision of a model."""

    def __init__(self, uri: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> None:
        name, _, self._revision = uri.path.partition(":")
        self._uri = uri
        self._model = f"{uri.authority}/{name}"
        self._options = options
        self._context = tls_context(options)
        self._environment = environment
        self._endpoint = _endpoint(environment)
        token = environment.get("HF_TOKEN", "").strip()
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise StorageError(
                Reason.INVALID_SETTING, "the variable HF_TOKEN is not a token", remedy="put the token alone into it"
            )
        if token and self._endpoint.startswith("http://") and not on_this_machine(self._endpoint):
            raise StorageError(
                Reason.INVALID_SETTING,
                f"HF_ENDPOINT is {self._endpoint}, and HF_TOKEN would go there without encryption",
                remedy="write https:// in HF_ENDPOINT; or leave HF_TOKEN out, where that server asks for none",
            )
        self._credentials = {"Authorization": f"Bearer {token}"} if token else {}
        self._commit = ""

    async def list(self, *, versions: bool) -> Listing:  # noqa: ARG002 - they come with the list
        """The files of the revision that serving needs; the hub tells their sizes and versions, too."""
        about = f"{self._endpoint}/api/models/{self._model}"
        told, _ = await self._ask(f"{about}/revision/{quote(self._revision, safe='')}")
        try:
            self._commit = str(told["sha"])
        except (KeyError, TypeError) as error:
            raise _no_hub(self._endpoint) from error
        files: list[SourceObject] = []
        page = f"{about}/tree/{quote(self._commit, safe='')}?recursive=true&expand=false"
        pages = 0
        while page:
            pages += 1
            if pages > self._options.max_files:  # with files, folders or nothing in them
                raise _no_hub(self._endpoint)
            told, page = await self._ask(page)
            try:
                files += [_file(entry) for entry in told if entry["type"] == "file"]
            except (KeyError, TypeError, ValueError) as error:
                raise _no_hub(self._endpoint) from error
            if len(files) > self._options.max_files:
                break  # which is refused, with the count, by whoever asked
        chosen = files if self._options.hub_files == "all" else needed(files)
        left = len(files) - len(chosen)
        if left:
            bytes_ = sum(item.size or 0 for item in files) - sum(item.size or 0 for item in chosen)
            _LOGGER.info(
                "%d of %d files of %s are left out, which are weights in other formats or not the model's",
                left, len(files), self._uri,
                extra={"fields": {"event": "storage.left_out", "files": left, "bytes": bytes_}},
            )  # fmt: skip
        return Listing(tuple(chosen), single=False)

    @asynccontextmanager
    async def open(self, item: SourceObject, offset: int, version: str | None) -> AsyncIterator[Body]:
        """Stream a file of the commit that was listed."""
        address = f"{self._endpoint}/{self._model}/resolve/{quote(self._commit, safe='')}/{quote(item.key, safe='/')}"
        exchange = Exchange(self._options, self._context, self._environment)
        try:
            await asyncio.to_thread(
                self._send, exchange, address, {"Range": f"bytes={offset}-"} if offset and version is not None else {}
            )
            # The stores that the hub redirects to have validators of their own, which mean nothing to the hub.
            yield replace(exchange.body(redact(address), item.path), version=item.version)
        finally:
            exchange.abort()

    async def close(self) -> None:
        """Connections live as long as their streams."""

    async def _ask(self, address: str) -> tuple[Any, str]:
        """What the hub answers, and where the next page is, empty at the last."""
        exchange = Exchange(self._options, self._context, self._environment)
        try:
            await asyncio.to_thread(self._send, exchange, address, {})
            following = _NEXT.search(exchange.header("Link"))
            listing = await asyncio.to_thread(
                exchange.read_all, _MAX_LISTING, "the list of the model's files", "check HF_ENDPOINT"
            )
            return json.loads(listing), self._at_home(following[1] if following else "")
        except ValueError as error:
            raise _no_hub(self._endpoint) from error
        finally:
            exchange.abort()

    def _at_home(self, address: str) -> str:
        """The address of a next page at the endpoint: whatever host it names, the token goes to that alone."""
        if not address:
            return ""
        parts = urlsplit(address)
        return f"{self._endpoint}{parts.path.removeprefix(urlsplit(self._endpoint).path)}?{parts.query}"

    def _send(self, exchange: Exchange, address: str, headers: Mapping[str, str]) -> None:
        try:
            exchange.send("GET", address, self._credentials, headers)
        except StorageError as error:
            raise self._explained(error, exchange.header("X-Error-Code")) from error

    def _explained(self, error: StorageError, code: str) -> StorageError:
        """The error in the hub's own terms, which it tells by a header; it answers 401 for what is not there, too."""
        model = f"{self._model!r} at {self._endpoint}"
        if code == "GatedRepo":
            text, remedy = f"the model {model} is open to those only who accepted its conditions", (
                "accept them on its page, and give a token of yours as HF_TOKEN in a Secret of the ServiceAccount"
            )  # fmt: skip
            return StorageError(Reason.ACCESS_DENIED, text, remedy=remedy)
        if code == "RevisionNotFound":
            text = f"the model {model} has no revision {self._revision!r}"
            return StorageError(Reason.OBJECT_NOT_FOUND, text, remedy="name a branch, a tag or a commit that it has")
        if code == "RepoNotFound" or error.reason in {Reason.ACCESS_DENIED, Reason.OBJECT_NOT_FOUND}:
            text = (
                f"there is no model {model}, or it is not open to {'this token' if self._credentials else 'everybody'}"
            )
            remedy = "check the name; for a private model give a token of yours as HF_TOKEN in a Secret"
            return StorageError(error.reason, text, remedy=remedy)
        return error


def needed(files: Iterable[SourceObject]) -> list[SourceObject]:
    """Return the files that serving needs: without weights in other formats where there are safetensors beside them,
    and without what is about the repository. Pure.
    """
    kept = [item for item in files if item.path not in _NEVER]
    safe = {PurePosixPath(item.path).parent for item in kept if item.path.endswith(".safetensors")}
    if PurePosixPath() in safe:
        kept = [
            item for item in kept if PurePosixPath(item.path).parts[0] not in _OTHER_FOLDERS or "/" not in item.path
        ]
    return [item for item in kept if not (_is_other(item.path) and PurePosixPath(item.path).parent in safe)]


def _is_other(path: str) -> bool:
    name = path.lower()
    return PurePosixPath(name).suffix in _OTHER_WEIGHTS or name.endswith((".bin.index.json", ".h5.index.json"))


def _file(entry: Mapping[str, Any]) -> SourceObject:
    name, large = str(entry["path"]), entry.get("lfs")
    sha256 = str(large["oid"]) if large else None
    path = safe_name(name, reason=Reason.UNSAFE_PATH)
    return SourceObject(name, path, int(entry["size"]), sha256 or str(entry["oid"]), sha256)


def _no_hub(endpoint: str) -> StorageError:
    return StorageError(
        Reason.DOWNLOAD_FAILED, f"{endpoint} did not answer as a hub of models does", remedy="check HF_ENDPOINT"
    )


def _endpoint(environment: Mapping[str, str]) -> str:
    text = environment.get("HF_ENDPOINT", "").strip().rstrip("/") or _ENDPOINT
    if not is_server(text):
        raise StorageError(
            Reason.INVALID_SETTING,
            f"HF_ENDPOINT is {redact(text)[:200]!r}, which is not the address of a hub",
            remedy="write https://host, or leave it out for https://huggingface.co",
        )
    return text
