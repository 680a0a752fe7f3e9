"""A proxy on loopback that holds obstore to the address rule, for custom endpoints.

A custom endpoint (``AWS_ENDPOINT_URL``) is a setting of the user's Secret, and obstore follows redirects and resolves
names without asking. So requests to a custom endpoint go through this proxy of our own process: it speaks CONNECT and
plain GET and HEAD, connects by `pillion.storage.addresses.connect`, which checks the very address it connects to, and
answers 403 to what is forbidden. The providers' own endpoints need none: no user chooses their hosts.

Blocking sockets and two threads a connection: the copying is done by the kernel without the interpreter's lock, and a
serving event loop next door is not disturbed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pillion.storage.addresses import connect
from pillion.storage.errors import Reason, StorageError

if TYPE_CHECKING:
    from pillion.storage.options import FetchOptions

__all__ = ["AddressGuard"]

_COPY_BYTES: Final = 1 << 18
_MAX_HEAD: Final = 64 * 1024


class AddressGuard:
    """The proxy; give `url` to obstore, look at `refused` after an error, `close` at the end."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.refused: StorageError | None = None
        threading.Thread(target=self._accept, name="pillion-storage-guard", daemon=True).start()

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Close the listener and every connection."""
        with self._lock:
            sockets = [self._listener, *self._open]
            self._open.clear()
        for item in sockets:
            with contextlib.suppress(OSError):  # the other side may have closed it
                item.shutdown(socket.SHUT_RDWR)
            item.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            self._track(client)
            threading.Thread(target=self._serve, args=(client,), name="pillion-storage-guard", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        upstream: socket.socket | None = None
        origin = ""
        buffered = b""
        try:
            while True:
                head, buffered = _read_head(client, buffered)
                if head is None:
                    return
                method, target, rest = _split_head(head)
                if upstream is None:
                    upstream, origin = self._connect(method, target), _origin(method, target)
                    self._track(upstream)
                    threading.Thread(
                        target=_copy, args=(upstream, client), name="pillion-storage-guard", daemon=True
                    ).start()
                elif _origin(method, target) != origin:
                    return  # the client opens another connection for another origin
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    upstream.sendall(buffered)
                    _copy(client, upstream)
                    return
                upstream.sendall(_forwarded(method, target, rest))
        except StorageError as error:
            if error.reason is Reason.FORBIDDEN_ADDRESS:
                self.refused = error
            status = b"403 Forbidden" if error.reason is Reason.FORBIDDEN_ADDRESS else b"502 Bad Gateway"
            with contextlib.suppress(OSError):  # the client may be gone
                client.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except OSError:
            pass  # a broken connection is seen, and retried, by obstore's caller
        finally:
            self._drop(client)
            if upstream is not None:
                self._drop(upstream)

    def _connect(self, method: str, target: str) -> socket.socket:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        default = 443 if method == "CONNECT" else 80
        connection = connect(
            parts.hostname or "",
            parts.port or default,
            timeout=self._options.connect_seconds,
            allow_private_hosts=self._options.allow_private_hosts,
        )
        connection.settimeout(None)
        return connection

    def _track(self, item: socket.socket) -> None:
        with self._lock:
            self._open.add(item)

    def _drop(self, item: socket.socket) -> None:
        with self._lock:
            self._open.discard(item)
        with contextlib.suppress(OSError):  # the other side may have closed it
            item.shutdown(socket.SHUT_RDWR)
        item.close()


def _read_head(client: socket.socket, buffered: bytes) -> tuple[bytes | None, bytes]:
    while b"\r\n\r\n" not in buffered:
        chunk = client.recv(_COPY_BYTES) if len(buffered) <= _MAX_HEAD else b""
        if not chunk:
            return None, b""
        buffered += chunk
    head, _, rest = buffered.partition(b"\r\n\r\n")
    return head, rest


def _split_head(head: bytes) -> tuple[str, str, bytes]:
    line, _, rest = head.partition(b"\r\n")
    words = line.decode("latin-1").split(" ")
    if len(words) != 3 or words[0] not in {"GET", "HEAD", "CONNECT"}:
        raise StorageError(
            Reason.DOWNLOAD_FAILED, "a request that the proxy does not pass on", remedy="report this defect"
        )
    return words[0], words[1], rest


def _origin(method: str, target: str) -> str:
    return target if method == "CONNECT" else urlsplit(target).netloc


def _forwarded(method: str, target: str, rest: bytes) -> bytes:
    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"{method} {path} HTTP/1.1\r\n".encode("latin-1") + rest + b"\r\n\r\n"


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until either side ends, then end both directions of the target."""
    buffer = bytearray(_COPY_BYTES)
    view = memoryview(buffer)
    with contextlib.suppress(OSError):  # either side may break; the other one is told by the shutdown
        while count := source.recv_into(buffer):
            target.sendall(view[:count])
    with contextlib.suppress(OSError):  # as above
        target.shutdown(socket.SHUT_RDWR)
