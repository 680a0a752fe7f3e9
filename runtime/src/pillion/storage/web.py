"""http(s) as a source of single files, over the standard library's client.

obstore follows redirects and resolves names by itself, without a hook to look at the address before it connects. A
user's http(s) URI may point anywhere, so here the resolution must be ours: each hop of a redirect is resolved, checked
and connected to by `pillion.storage.addresses`, and TLS is spoken with the name of the URI over that connection.
Proxies of the environment (``HTTPS_PROXY``) are not used for these URIs: behind one there is no address to check.

Redirects: bounded, each checked, never from https to http; headers with credentials are dropped when the origin
changes. An answer is continued only under a validator: ``If-Match`` with a strong ETag, else ``If-Unmodified-Since``.
Headers for a host come from the variable ``<host>-headers`` (a JSON object), as KServe's https Secrets give them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from pillion.storage.addresses import connect
from pillion.storage.errors import Reason, StorageError
from pillion.storage.names import safe_name
from pillion.storage.source import Body, Listing, SourceChanged, SourceObject
from pillion.storage.uri import redact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pillion.storage.options import FetchOptions
    from pillion.storage.uri import StorageUri

__all__ = ["WebSource"]

_READ_BYTES: Final = 1 << 18
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_MAX_RETRY_AFTER: Final = 60.0


class WebSource:
    """One file behind an http(s) URI."""

    def __init__(self, uri: StorageUri, options: FetchOptions, environment: Mapping[str, str]) -> None:
        self._uri = uri
        self._options = options
        self._context = _tls_context(options)
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
        exchange = _Exchange(self._options, self._context)
        try:
            await asyncio.to_thread(exchange.send, "HEAD", self._uri, self._credentials, {})
            answer = exchange.answer
            return Listing((SourceObject(name, name, _length(answer), _validator(answer)),), single=True)
        finally:
            exchange.abort()

    @asynccontextmanager
    async def open(self, item: SourceObject, offset: int, version: str | None) -> AsyncIterator[Body]:
        """Stream the file; from `offset` only where there is a version to guard it with."""
        headers: dict[str, str] = {}
        if offset and version is not None:
            headers["Range"] = f"bytes={offset}-"
            headers["If-Match" if version.startswith('"') else "If-Unmodified-Since"] = version
        exchange = _Exchange(self._options, self._context)
        try:
            await asyncio.to_thread(exchange.send, "GET", self._uri, self._credentials, headers)
            yield _body(exchange, item, str(self._uri))
        finally:
            exchange.abort()

    async def close(self) -> None:
        """Connections live as long as their streams."""


class _Exchange:
    """One request with its redirects; `abort` may be called from another thread, and ends a read that waits."""

    def __init__(self, options: FetchOptions, context: ssl.SSLContext) -> None:
        self._options = options
        self._context = context
        self._socket: socket.socket | None = None
        self._aborted = False
        self.answer: http.client.HTTPResponse
        self._answered = False

    def send(self, method: str, uri: StorageUri, credentials: Mapping[str, str], headers: Mapping[str, str]) -> None:
        url = urlsplit(uri.text)
        origin = _origin(url)
        for _ in range(self._options.max_redirects + 1):
            own = credentials if _origin(url) == origin else {}
            self.answer = self._request(method, url, {**headers, **own})
            self._answered = True
            if self.answer.status not in _REDIRECTS:
                _raise_for_status(self.answer, redact(url.geturl()))
                return
            url = _next_hop(url, self.answer)
            self.close()
        raise StorageError(
            Reason.DOWNLOAD_FAILED,
            f"{uri} redirects more than {self._options.max_redirects} times",
            remedy="name the final address, or raise PILLION_STORAGE_MAX_REDIRECTS",
        )

    def _request(self, method: str, url: SplitResult, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        host = url.hostname or ""
        port = url.port or (443 if url.scheme == "https" else 80)
        options = self._options
        plain = connect(host, port, timeout=options.connect_seconds, allow_private_hosts=options.allow_private_hosts)
        self._keep(plain)
        try:
            plain.settimeout(options.stall_seconds)
            if url.scheme == "https":
                secure = self._context.wrap_socket(plain, server_hostname=host)
                self._keep(secure)
                client: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, context=self._context)
                client.sock = secure
            else:
                client = http.client.HTTPConnection(host, port)
                client.sock = plain
            target = quote(url.path or "/", safe="/%:@!$&'()*+,;=~") + (
                f"?{quote(url.query, safe=_QUERY)}" if url.query else ""
            )
            # identity: a coded body could be neither continued nor measured.
            fixed = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "pillion", "Connection": "close"}
            client.request(method, target, headers={**fixed, **headers})
            return client.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _broken(error, redact(url.geturl()), options.stall_seconds) from error

    def read(self) -> bytes:
        """The next bytes, empty at the end."""
        return self.answer.read1(_READ_BYTES)

    def _keep(self, connection: socket.socket) -> None:
        self._socket = connection
        if self._aborted:  # the caller left while we were connecting
            connection.close()

    def close(self) -> None:
        """Close the connection; the answer holds it open, too, so that must be closed first."""
        if self._answered:
            self.answer.close()
        if self._socket is not None:
            self._socket.close()

    def abort(self) -> None:
        """Close the connection under a thread that may be reading from it."""
        self._aborted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it may have been closed by the other side already
                self._socket.shutdown(socket.SHUT_RDWR)
        self.close()


_QUERY: Final = "/%:@!$&'()*+,;=~?-._"


def _body(exchange: _Exchange, item: SourceObject, shown: str) -> Body:
    answer = exchange.answer
    coding = answer.getheader("Content-Encoding", "identity").lower()
    if coding != "identity" and not item.path.lower().endswith((".gz", ".tgz")):
        raise StorageError(
            Reason.DOWNLOAD_FAILED,
            f"{shown} came with Content-Encoding {coding[:20]!r}, although that was not asked for",
            remedy="serve the file as it is",
        )
    offset, total = 0, _length(answer)
    if answer.status == 206:
        match = _CONTENT_RANGE.fullmatch(answer.getheader("Content-Range", ""))
        if match is None:
            raise SourceChanged
        offset = int(match[1])
        total = None if match[3] == "*" else int(match[3])
    return Body(offset, total, _validator(answer), _chunks(exchange, shown))


async def _chunks(exchange: _Exchange, shown: str) -> AsyncIterator[bytes]:
    while True:
        try:
            chunk = await asyncio.to_thread(exchange.read)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: the socket was closed under us
            raise _broken(error, shown, None) from error
        if not chunk:
            return
        yield chunk


def _length(answer: http.client.HTTPResponse) -> int | None:
    text = answer.getheader("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _validator(answer: http.client.HTTPResponse) -> str | None:
    """What a later range can be guarded with: a strong ETag, else the time of the last change."""
    etag = answer.getheader("ETag")
    return etag if etag is not None and etag.startswith('"') else answer.getheader("Last-Modified")


def _next_hop(url: SplitResult, answer: http.client.HTTPResponse) -> SplitResult:
    shown = redact(url.geturl())
    try:
        following = urlsplit(urljoin(url.geturl(), answer.getheader("Location", "")))
        usable = following.scheme in {"http", "https"} and bool(following.hostname) and following.port != 0
    except ValueError:
        usable = False
    if not usable or not answer.getheader("Location"):
        raise StorageError(
            Reason.DOWNLOAD_FAILED, f"{shown} redirects to no http(s) address", remedy="name the final address"
        )
    if url.scheme == "https" and following.scheme == "http":
        raise StorageError(
            Reason.FORBIDDEN_ADDRESS,
            f"{shown} redirects from https to http",
            remedy="name an address that stays on https",
        )
    return following._replace(fragment="", netloc=following.netloc.rpartition("@")[2])


def _raise_for_status(answer: http.client.HTTPResponse, shown: str) -> None:
    status = answer.status
    if status in {200, 206}:
        return
    if status in {412, 416}:
        raise SourceChanged
    if status in {401, 403, 407}:
        raise StorageError(
            Reason.ACCESS_DENIED,
            f"{shown} answered {status}",
            remedy="check the address and its signature, or give the host's headers in a Secret",
        )
    if status in {404, 410}:
        raise StorageError(Reason.OBJECT_NOT_FOUND, f"{shown} answered {status}", remedy="check the address")
    raise StorageError(
        Reason.DOWNLOAD_FAILED,
        f"{shown} answered {status}",
        remedy="look at the server's log",
        transient=status in _TRANSIENT,
        retry_after=_retry_after(answer),
    )


def _retry_after(answer: http.client.HTTPResponse) -> float | None:
    text = answer.getheader("Retry-After", "")
    return min(float(text), _MAX_RETRY_AFTER) if text.isascii() and text.isdigit() else None


def _broken(error: Exception, shown: str, stall_seconds: float | None) -> StorageError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return StorageError(
            Reason.DOWNLOAD_FAILED,
            f"the certificate of {shown} is not trusted: {error.verify_message}",
            remedy="give its certificate authority in PILLION_STORAGE_CA_BUNDLE",
        )
    if isinstance(error, TimeoutError):
        waited = "" if stall_seconds is None else f" for {stall_seconds:g} s"
        return StorageError(
            Reason.DOWNLOAD_STALLED,
            f"{shown} sent nothing{waited}",
            remedy="check the server and the network between",
            transient=True,
        )
    return StorageError(
        Reason.DOWNLOAD_FAILED,
        f"the connection to {shown} broke: {type(error).__name__}",
        remedy="check the server and the network between",
        transient=True,
    )


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port


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


def _tls_context(options: FetchOptions) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if options.ca_bundle is not None:
        try:
            context.load_verify_locations(options.ca_bundle)
        except (OSError, ssl.SSLError) as error:
            raise StorageError(
                Reason.INVALID_SETTING,
                f"the CA bundle {options.ca_bundle} cannot be read",
                remedy="give a PEM file in PILLION_STORAGE_CA_BUNDLE",
            ) from error
    return context
