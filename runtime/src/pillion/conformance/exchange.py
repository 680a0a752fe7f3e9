"""One request and what came back, kept so that a failed check can show both."""

from __future__ import annotations

import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from pillion.conformance.model import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "Rest", "shown"]

_SHOWN: Final = 600
_MOST_BYTES: Final = 64 << 20
"""More of an answer is not read."""


def shown(content: str | bytes) -> str:
    """A text for people: shortened, and bytes that are no text as their number."""
    text = content if isinstance(content, str) else _text(content)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text)} characters)"


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        head = content.split(b"\0", 1)[0][:200].decode(errors="replace")
        return f"{head} ... ({len(content)} bytes, not text)"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. ``status`` is 0 where the connection ended without one; ``body`` then says how."""

    sent: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The body's JSON.

        Raises:
            Violation: it is none.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise Violation("a JSON body", f"{self.status} with {shown(self.body) or 'an empty body'}") from None

    def object(self) -> dict[str, Any]:
        """The body's JSON object.

        Raises:
            Violation: it is none.
        """
        document = self.json()
        if not isinstance(document, dict):
            raise Violation("a JSON object", shown(self.body))
        return document

    def is_object(self) -> bool:
        """Whether the body is a JSON object."""
        try:
            return isinstance(json.loads(self.body), dict)
        except ValueError:
            return False

    def __str__(self) -> str:
        kind = self.headers.get("content-type", "no content type")
        return f"{self.status or 'no answer'} ({kind}) {shown(self.body)}"


@dataclass(slots=True)
class Rest:
    """A client of one server over HTTP/1.1. ``last`` is the latest exchange."""

    base: str
    timeout: float
    headers: Mapping[str, str]
    ca: str | None = None
    last: Answer | None = None
    _client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        # No proxies of the environment: they lead out of this machine, where nobody knows its loopback. And for each
        # request a connection: a server may close one after an error, and the next request would be blamed for it.
        self._client = httpx.Client(
            timeout=self.timeout,
            verify=self._trust(),
            trust_env=False,
            headers={"accept-encoding": "identity"} | dict(self.headers),
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def get(self, path: str) -> Answer:
        """GET."""
        return self._send("GET", path, None, {})

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """POST: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        return self._send("POST", path, content, {"content-type": "application/json"} | dict(headers or {}))

    def _send(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        said = "".join(f"\n{name}: {value}" for name, value in headers.items() if name != "content-type")
        kind = f" ({headers['content-type']})" if "content-type" in headers else ""
        sent = f"{method} {path}{kind}{said}" + ("" if content is None else f"\n{shown(content)}")
        # httpx bounds each wait, not their sum: a server that drips bytes would be waited for without end.
        until = time.monotonic() + self.timeout
        try:
            with self._client.stream(method, f"{self.base}{path}", content=content, headers=headers) as response:
                body = bytearray()
                for chunk in response.iter_raw():
                    body += chunk
                    if time.monotonic() > until:
                        raise httpx.ReadTimeout(f"the answer took longer than {self.timeout:g} s")
                    if len(body) > _MOST_BYTES:
                        break
                kept = {name.lower(): value for name, value in response.headers.items()}
                self.last = Answer(sent, response.status_code, kept, bytes(body))
        except httpx.HTTPError as error:
            self.last = Answer(sent, 0, {}, f"{type(error).__name__}: {error}".encode())
        return self.last

    def lie(self, path: str, body: bytes, claimed: int) -> Answer:
        """POST a body whose Content-Length claims another size, then stop sending; reads what the server says to it."""
        address = urlsplit(self.base)
        lines = [f"POST {address.path}{path} HTTP/1.1", f"Host: {address.netloc}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {claimed}", "Connection: close"]
        sent = f"POST {path}\nContent-Length: {claimed} before {len(body)} bytes, then no more\n{shown(body)}"
        port = address.port or (443 if address.scheme == "https" else 80)
        received = b""
        until = time.monotonic() + self.timeout
        try:
            with socket.create_connection((address.hostname or "", port), self.timeout) as plain:
                wrapped = (
                    self._trust().wrap_socket(plain, server_hostname=address.hostname)
                    if address.scheme == "https"
                    else plain
                )
                wrapped.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                if address.scheme == "http":
                    plain.shutdown(socket.SHUT_WR)
                while len(received) < _MOST_BYTES and time.monotonic() < until:
                    chunk = wrapped.recv(1 << 16)
                    if not chunk:
                        break
                    received += chunk
        except OSError as error:
            if not received:
                self.last = Answer(sent, 0, {}, f"{type(error).__name__}: {error}".encode())
                return self.last
        self.last = _parsed(sent, received)
        return self.last

    def close(self) -> None:
        """End the connections."""
        self._client.close()


def _parsed(sent: str, received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) < 2 or not words[1].isdigit():
        return Answer(sent, 0, {}, received or b"the connection was closed without an answer")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(sent, int(words[1]), headers, body)
