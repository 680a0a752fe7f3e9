"""A client that leaves when a test says so, and not when a time is over."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.waiting import WITHIN

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["asking"]


@contextlib.contextmanager
def asking(url: str, body: object = None) -> Iterator[None]:
    """Ask over HTTP, GET or, with a body, POST; read nothing, and leave with the block."""
    parts = urlsplit(url)
    path = parts.path or "/"
    target = f"{path}?{parts.query}" if parts.query else path
    content = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    about = f"Content-Type: application/json\r\nContent-Length: {len(content)}"
    head = f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n{about}\r\n\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=WITHIN) as connection:
        connection.sendall(head.encode() + content)
        yield
