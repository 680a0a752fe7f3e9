"""http(s) as a source of single files.

An answer is continued only under a validator: ``If-Match`` with a strong ETag, else ``If-Unmodified-Since``.
Headers for a host come from the variable ``<host>-headers`` (a JSON object), as KServe's https Secrets give them.
"""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pillion.storage.errors import Reason, StorageError
from pillion.storage.exchange import Exchange, length_of, tls_context, validator_of
from pillion.storage.names import safe_name
from pillion.storage.source import Body, Listing, SourceObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pillion.storage.options import FetchOptions
    from pillion.storage.uri import StorageUri

__all__ = ["WebSource"]


class WebSource:
    """One file behind an http(s) URI."""

    def __init__(self, uri: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> None:
        self._uri = uri
        self._options = options
        self._context = tls_context(options)
        self._credentials = _request_headers(uri, environment)

    async def list(self, *, versions: bool) -> Listing:
        """The file; its size and version are known only with `versions`, by a HEAD request."""
        name = safe_name(self._uri.name, reason=Reason.UNSAFE_PATH)
        if not name:
            raise StorageError(
                Reason.INVALID_URI, f"{self._uri} does not end in the name of a file", remedy="name one file or archive"
            )
        if not versions:
            return Listing((SourceObject(name, name, None, None),), single=True)
        exchange = Exchange(self._options, self._context)
        try:
            await asyncio.to_thread(exchange.send, "HEAD", self._uri.text, self._credentials, {})
            answer = exchange.answer
            return Listing((SourceObject(name, name, length_of(answer), validator_of(answer)),), single=True)
        finally:
            exchange.abort()

    @asynccontextmanager
    async def open(self, item: SourceObject, offset: int, version: str | None) -> AsyncIterator[Body]:
        """Stream the file; from `offset` only where there is a version to guard it with."""
        headers: dict[str, str] = {}
        if offset and version is not None:
            headers["Range"] = f"bytes={offset}-"
            headers["If-Match" if version.startswith('"') else "If-Unmodified-Since"] = version
        exchange = Exchange(self._options, self._context)
        try:
            await asyncio.to_thread(exchange.send, "GET", self._uri.text, self._credentials, headers)
            yield exchange.body(str(self._uri), item.path)
        finally:
            exchange.abort()

    async def close(self) -> None:
        """Connections live as long as their streams."""


def _request_headers(uri: StorageUri, environment: Mapping[str, str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = uri.authority.rpartition("]")[2].partition(":")[0] if "[" not in uri.authority else uri.authority
    text = environment.get(f"{uri.authority}-headers") or environment.get(f"{name}-headers")
    if text:
        try:
            headers = {str(key): str(value) for key, value in json.loads(text).items()}
        except (ValueError, AttributeError):
            raise StorageError(
                Reason.INVALID_SETTING,
                f"the variable {uri.authority}-headers is not a JSON object",
                remedy='write {"Header": "value"} into the Secret',
            ) from None  # the cause would show the secret
        if any("\n" in part or "\r" in part for pair in headers.items() for part in pair):
            raise StorageError(
                Reason.INVALID_SETTING, f"the variable {uri.authority}-headers has line breaks", remedy="remove them"
            )
    if uri.userinfo:
        token = base64.b64encode(unquote(uri.userinfo).encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    return headers
