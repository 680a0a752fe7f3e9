"""A forward proxy on loopback, to which every name is this machine: CONNECT, and requests by their whole URL."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ForwardProxy", "forward_proxy"]

_OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
_LOGIN = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="out"\r\nContent-Length: 0\r\n\r\n'
)


class ForwardProxy:
    """Passes on what is asked of it, one connection for each request of a whole URL.

    Attributes:
        asked: first lines of what it was asked, without the version.
        login: the header that it wants to see, as ``Basic ...``; empty for none.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.asked: list[str] = []
        self.login = ""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                piece = client.recv(65536)
                if not piece:
                    return
                received += piece
            head, _, rest = received.partition(b"\r\n\r\n")
            method, target, version = head.split(b"\r\n")[0].decode().split(" ")
            self.asked.append(f"{method} {target}")
            if self.login and f"proxy-authorization: {self.login}".lower() not in head.decode().lower():
                client.sendall(_LOGIN)
                return
            if method == "CONNECT":
                with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2]))) as server:
                    client.sendall(_OK)
                    server.sendall(rest)
                    _passed_on(client, server)
                return
            parts = urlsplit(target)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            lines = [f"{method} {path} {version}".encode(), *head.split(b"\r\n")[1:]]
            kept = [line for line in lines if not line.lower().startswith((b"proxy-", b"connection:"))]
            with socket.create_connection(("127.0.0.1", parts.port or 80)) as server:
                # One request on a connection, so that the next one of the client comes through here as well.
                server.sendall(b"\r\n".join([*kept, b"Connection: close"]) + b"\r\n\r\n" + rest)
                _passed_on(client, server)


def _passed_on(client: socket.socket, server: socket.socket) -> None:
    """Both ways, until the server has ended."""

    def forth() -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(65536):
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)

    asking = threading.Thread(target=forth, daemon=True)
    asking.start()
    with contextlib.suppress(OSError):
        while piece := server.recv(65536):
            client.sendall(piece)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    asking.join(30)


@contextlib.contextmanager
def forward_proxy() -> Iterator[ForwardProxy]:
    """One for the block."""
    proxy = ForwardProxy()
    try:
        yield proxy
    finally:
        proxy.close()
