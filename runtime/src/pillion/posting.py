"""One connection, kept open, for threads that post one thing after another: traces, and events of the payload log.

Blocking and of the standard library: these threads mostly wait, and a client with pools would be imported for nothing
more. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from pillion.web_address import WebAddress

__all__ = ["Poster", "Reply"]

_MOST_OF_A_REPLY: Final = 64 * 1024


class Reply(NamedTuple):
    """What came back."""

    status: int
    retry_after: str


class Poster:
    """For one thread.

    Args:
        address: where to.
        timeout: seconds for each wait: for the connection, for the answer.
        context: of TLS, where the address asks for it.
        connect: opens a socket to the host; by default to whatever address the name has.
    """

    def __init__(
        self,
        address: WebAddress,
        timeout: float,
        context: ssl.SSLContext | None = None,
        connect: Callable[[], socket.socket] | None = None,
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._context = context
        self._connect = connect or self._plainly
        self._connection: http.client.HTTPConnection | None = None

    def post(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Post one thing.

        A connection that the other side has closed meanwhile is opened again once, so a thing can arrive twice.

        Raises:
            OSError: no connection, or it broke.
            http.client.HTTPException: the answer is no HTTP.
        """
        fresh = self._connection is None
        try:
            return self._exchange(headers, body)
        except (ConnectionError, http.client.BadStatusLine):
            self.close()
            if fresh:
                raise
        except BaseException:
            self.close()
            raise
        try:
            return self._exchange(headers, body)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, headers: Mapping[str, str], body: bytes) -> Reply:
        if self._connection is None:
            self._connection = self._opened()
        self._connection.request("POST", self._address.target, body=body, headers=dict(headers))
        answer = self._connection.getresponse()
        answer.read(_MOST_OF_A_REPLY)
        if not answer.isclosed():  # more than anybody needs to say: a new connection is cheaper than reading it
            self.close()
        return Reply(answer.status, answer.getheader("retry-after") or "")

    def _opened(self) -> http.client.HTTPConnection:
        raw = self._connect()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=self._timeout)
        try:
            connection.sock = (
                raw if self._context is None else self._context.wrap_socket(raw, server_hostname=self._address.host)
            )
        except BaseException:
            raw.close()
            raise
        return connection

    def _plainly(self) -> socket.socket:
        return socket.create_connection((self._address.host, self._address.port), self._timeout)
