"""One http(s) request with its redirects, over the standard library's client.

obstore follows redirects and resolves names by itself, without a hook to look at the address before it connects. A
user's URI may point anywhere, so here the resolution must be ours: each hop of a redirect is resolved, checked
and connected to by `pillion.storage.addresses`, and TLS is spoken with the name of the URI over that connection.
Proxies of the environment (``HTTPS_PROXY``) are used where the caller says so, as for hubs: behind one there is no
address to check, so URIs of the web, which whoever writes a manifest names, go without.

Redirects: bounded, each checked, never from https to http; headers with credentials are dropped when the origin
changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from pillion.storage.addresses import connect
from pillion.storage.errors import Reason, StorageError
from pillion.storage.proxying import place_of, proxy_to, tunnel
from pillion.storage.source import Body, SourceChanged
from pillion.storage.uri import redact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pillion.storage.options import FetchOptions

__all__ = ["Exchange", "is_server", "length_of", "parts_of", "tls_context", "validator_of"]

_READ_BYTES: Final = 1 << 18
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_MAX_RETRY_AFTER: Final = 60.0


class Exchange:
    """One request with its redirects; `abort` may be called from another thread, and ends a read that waits.

    Attributes:
        at_home: whether the last answer is of the origin that was asked, and not of one that it sent us on to.
    """

    def __init__(
        self, options: FetchOptions, context: ssl.SSLContext, proxies: Mapping[str, str] | None = None
    ) -> None:
        """Get ready; ``proxies`` is the environment that names some, None for none."""
        self._options = options
        self._proxies = proxies
        self._context = context
        self._socket: socket.socket | None = None
        self._aborted = False
        self.answer: http.client.HTTPResponse
        self.at_home = True
        self._answered = False

    def header(self, name: str) -> str:
        """A header of the last answer, empty where there is none."""
        return self.answer.getheader(name, "") if self._answered else ""

    @property
    def status(self) -> int:
        """Of the last answer, 0 where there is none."""
        return self.answer.status if self._answered else 0

    def send(
        self,
        method: str,
        address: str,
        credentials: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> None:
        """Send the request, and follow where it is sent on; blocking. `credentials` go to the address's origin alone.

        A request with a body is not sent on: what it says is for the one who was asked.

        Raises:
            SourceChanged: the condition in `headers` does not hold any more.
            StorageError: no connection, no answer, or an answer that says no.
        """
        url = urlsplit(address)
        origin = _origin(url)
        for _ in range(self._options.max_redirects + 1):
            self.at_home = _origin(url) == origin
            own = credentials if self.at_home else {}
            self.answer = self._request(method, url, {**headers, **own}, body)
            self._answered = True
            if self.answer.status not in _REDIRECTS or body is not None:
                _raise_for_status(self.answer, redact(url.geturl()), proxied=self._proxies is not None)
                return
            url = _next_hop(url, self.answer)
            self.close()
        raise StorageError(
            Reason.DOWNLOAD_FAILED,
            f"{redact(address)} redirects more than {self._options.max_redirects} times",
            remedy="name the final address, or raise PILLION_STORAGE_MAX_REDIRECTS",
        )

    def _request(
        self, method: str, url: SplitResult, headers: Mapping[str, str], body: bytes | None
    ) -> http.client.HTTPResponse:
        host = url.hostname or ""
        port = url.port or (443 if url.scheme == "https" else 80)
        options = self._options
        proxy = None if self._proxies is None else proxy_to(url, self._proxies)
        if proxy is None:
            there, own = (host, port), options.allow_private_hosts
        else:
            there, own = (proxy.host, proxy.port), True
        plain = connect(*there, timeout=options.connect_seconds, allow_private_hosts=own)
        self._keep(plain)
        try:
            plain.settimeout(options.stall_seconds)
            if proxy is not None and url.scheme == "https":
                tunnel(plain, proxy, host, port)
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
            if proxy is not None and url.scheme == "http":
                target = f"http://{place_of(host, port)}{target}"
                headers = {**headers, **proxy.headers}
            # identity: a coded body could be neither continued nor measured.
            fixed = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "pillion", "Connection": "close"}
            client.request(method, target, body, {**fixed, **headers})
            return client.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _broken(error, redact(url.geturl()), options.stall_seconds) from error

    def read(self) -> bytes:
        """The next bytes, empty at the end."""
        return self.answer.read1(_READ_BYTES)

    def read_all(self, limit: int, what: str = "the server's answer", remedy: str = "check the address") -> bytes:
        """The rest of the answer, which is `what`, of so many MiB at most; blocking.

        Raises:
            StorageError: it has more than `limit` bytes, or breaks off.
        """
        parts, count = [], 0
        try:
            while part := self.read():
                parts.append(part)
                count += len(part)
                if count > limit:
                    raise StorageError(Reason.TOO_LARGE, f"{what} has more than {limit >> 20} MiB", remedy=remedy)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: closed under us
            raise _broken(error, "the server", None) from error
        return b"".join(parts)

    def body(self, shown: str, name: str) -> Body:
        """The answer's body, which is the file `name`, with the place that it begins at.

        Raises:
            SourceChanged: a part was sent without saying which.
            StorageError: it is compressed, although that was not asked for.
        """
        answer = self.answer
        coding = answer.getheader("Content-Encoding", "identity").lower()
        if coding != "identity" and not name.lower().endswith((".gz", ".tgz")):
            raise StorageError(
                Reason.DOWNLOAD_FAILED,
                f"{shown} came with Content-Encoding {coding[:20]!r}, although that was not asked for",
                remedy="serve the file as it is",
            )
        offset, total = 0, length_of(answer)
        if answer.status == 206:
            match = _CONTENT_RANGE.fullmatch(answer.getheader("Content-Range", ""))
            if match is None:
                raise SourceChanged
            offset = int(match[1])
            total = None if match[3] == "*" else int(match[3])
        return Body(offset, total, validator_of(answer), self._chunks(shown))

    async def _chunks(self, shown: str) -> AsyncIterator[bytes]:
        while True:
            try:
                chunk = await asyncio.to_thread(self.read)
            except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: closed under us
                raise _broken(error, shown, None) from error
            if not chunk:
                return
            yield chunk

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


def length_of(answer: http.client.HTTPResponse) -> int | None:
    """The answer's Content-Length, None where it says none."""
    text = answer.getheader("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def validator_of(answer: http.client.HTTPResponse) -> str | None:
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


def _raise_for_status(answer: http.client.HTTPResponse, shown: str, *, proxied: bool) -> None:
    status = answer.status
    if status in {200, 206}:
        return
    if status in {412, 416}:
        raise SourceChanged
    if status == 407 and proxied:
        text, remedy = f"{shown} answered 407: a proxy wants a login", "give it in HTTP_PROXY"
        raise StorageError(Reason.DOWNLOAD_FAILED, text, remedy=remedy)
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


def parts_of(address: str) -> SplitResult | None:
    """The parts of an http(s) address that a request can be sent to; None where it is none."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def is_server(address: str) -> bool:
    """Whether it is the address of a server: paths come below it, and it has no login, query or fragment."""
    parts = parts_of(address)
    return parts is not None and not ("@" in parts.netloc or parts.query or parts.fragment)


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port


def tls_context(options: FetchOptions) -> ssl.SSLContext:
    """The context that servers are verified with.

    Raises:
        StorageError: the CA bundle cannot be read.
    """
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
