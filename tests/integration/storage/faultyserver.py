"""A real HTTP server that knows ranges, ETags and conditions, and can be told to fail in every way a network does."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

_WRITE = 1 << 16


@dataclass(slots=True)
class Fault:
    """What goes wrong with one answer; the answers after the last fault are healthy."""

    status: int = 0
    """Answer with this status and no body."""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    stall_after: int | None = None
    """Send nothing more after so many bytes, and keep the connection open."""
    ignore_range: bool = False
    claim: int = 0
    """Announce so many bytes more (or fewer) than there are."""
    error_body: bytes = b""


@dataclass(slots=True)
class Resource:
    """One object: its bytes, and what it is served with."""

    data: bytes
    etag: str | None = None
    last_modified: str | None = "Wed, 21 Oct 2026 07:28:00 GMT"
    faults: list[Fault] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    password: str | None = None
    token: str | None = None
    chunked: bool = False
    redirect: str | None = None
    """Send whoever asks on to this address."""

    def __post_init__(self) -> None:
        if self.etag is None:
            self.etag = f'"{hashlib.md5(self.data).hexdigest()}"'


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class FaultyServer:
    """Serves `resources` by path, records what it is asked, fails as it is told."""

    def __init__(self, *, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.resources: dict[str, Resource] = {}
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self.stalled = threading.Event()
        handler = type("Handler", (_Handler,), {"faulty": self})
        self._server = ThreadingHTTPServer((host, 0), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._scheme = "http"
        if context is not None:
            self._scheme = "https"
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str = "", host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self.port}{path}"

    def put(self, path: str, data: bytes, **more: Any) -> Resource:
        self.resources[path] = Resource(data, **more)
        return self.resources[path]

    def ranges(self, path: str) -> list[str | None]:
        """The Range headers of all GET requests for a path."""
        return [seen.range for seen in self.seen if seen.method == "GET" and seen.path.partition("?")[0] == path]


class _Handler(BaseHTTPRequestHandler):
    faulty: ClassVar[FaultyServer]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name that the base class gives it)
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.faulty.seen.append(Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        resource = self.faulty.resources.get(self.path.partition("?")[0])
        if resource is None:
            self._status(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        fault = resource.faults.pop(0) if resource.faults and self.command == "GET" else Fault()
        if fault.status:
            self._status(fault.status, fault.error_body, fault.headers)
        elif resource.password is not None and not self._knows(resource.password):
            self._status(401, b"")
        elif resource.token is not None and self.headers.get("Authorization") != f"Bearer {resource.token}":
            self._status(401, b"", resource.headers)
        elif resource.redirect is not None:
            self._status(302, b"", {**resource.headers, "Location": resource.redirect})
        else:
            self._serve(resource, fault)

    def _knows(self, password: str) -> bool:
        return self.headers.get("Authorization") == f"Basic {base64.b64encode(password.encode()).decode()}"

    def _serve(self, resource: Resource, fault: Fault) -> None:
        match, unmodified = self.headers.get("If-Match"), self.headers.get("If-Unmodified-Since")
        if (match and match != resource.etag) or (unmodified and unmodified != resource.last_modified):
            self._status(412, b"")
            return
        start, total = 0, len(resource.data)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and not fault.ignore_range:
            start = int(asked[1])
            if start >= total:
                self._status(416, b"")
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if resource.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(total - start + fault.claim))
        for name, value in (
            ("ETag", resource.etag),
            ("Last-Modified", resource.last_modified),
            *resource.headers.items(),
        ):
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._body(resource, fault, start)

    def _body(self, resource: Resource, fault: Fault, start: int) -> None:
        try:
            for piece in self._pieces(resource, fault, start):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if resource.chunked else piece)
            if resource.chunked and fault.cut_after is None:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # the client left
        if fault.stall_after is not None:
            self.faulty.stalled.set()
            self.faulty.closing.wait()
        if fault.cut_after is not None or fault.stall_after is not None or fault.claim:
            self.close_connection = True

    @staticmethod
    def _pieces(resource: Resource, fault: Fault, start: int) -> Iterator[bytes]:
        ends = [start + limit for limit in (fault.cut_after, fault.stall_after) if limit is not None]
        end = min([len(resource.data), *ends])
        for offset in range(start, end, _WRITE):
            yield resource.data[offset : min(end, offset + _WRITE)]

    def _status(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
