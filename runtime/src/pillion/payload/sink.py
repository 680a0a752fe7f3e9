"""One connection to the sink, kept open, that reaches only what it may.

The sink's URL is written by whoever may create an InferenceService, and this process sends from inside the network, as
storage does: so the same rule about addresses holds, checked at the very address that is connected to. Redirects are
not followed.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

from pillion.payload.address import sink_address
from pillion.storage.addresses import connect
from pillion.storage.errors import Reason, StorageError

if TYPE_CHECKING:
    import ssl

    from pillion.payload.options import PayloadOptions

__all__ = ["Sink", "SinkError"]


class SinkError(Exception):
    """An event was not delivered; the text says why."""


class Sink:
    """Posts one event at a time. For one thread."""

    def __init__(self, options: PayloadOptions, context: ssl.SSLContext | None) -> None:
        self._options = options
        self._address = sink_address(options.url)
        self._context = context
        self._connection: http.client.HTTPConnection | None = None

    def post(self, headers: dict[str, str], body: bytes) -> None:
        """Deliver one event: any answer of 2xx counts.

        A connection that the sink has closed meanwhile is opened again once; so an event can arrive twice, with one id.

        Raises:
            SinkError: it was not delivered.
        """
        if self._options.bearer_token:
            headers = {**headers, "authorization": f"Bearer {self._options.bearer_token}"}
        fresh = self._connection is None
        try:
            try:
                status = self._exchange(headers, body)
            except (ConnectionError, http.client.BadStatusLine):
                self.close()
                if fresh:
                    raise
                status = self._exchange(headers, body)
        except StorageError as error:
            self.close()
            if error.reason is Reason.FORBIDDEN_ADDRESS:
                raise SinkError(
                    f"the sink {self._address.host} is at a loopback, link-local or metadata address, which events are"
                    " not sent to; for a sink on this machine or in this pod set logger.allow_loopback"
                ) from error
            raise SinkError(str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise SinkError(f"{type(error).__name__}: {error}") from error
        if not 200 <= status < 300:
            raise SinkError(f"the sink answered {status}")

    def _exchange(self, headers: dict[str, str], body: bytes) -> int:
        if self._connection is None:
            self._connection = self._opened()
        self._connection.request("POST", self._address.target, body=body, headers=headers)
        with self._connection.getresponse() as answer:
            answer.read(_MOST_OF_AN_ANSWER)
            if not answer.isclosed():  # more than anybody needs to say: a new connection is cheaper than reading it
                self.close()
            return answer.status

    def _opened(self) -> http.client.HTTPConnection:
        address, seconds = self._address, self._options.timeout
        raw = connect(address.host, address.port, timeout=seconds, allow_private_hosts=self._options.allow_loopback)
        connection = http.client.HTTPConnection(address.host, address.port, timeout=seconds)
        if self._context is None:
            connection.sock = raw
        else:
            try:
                connection.sock = self._context.wrap_socket(raw, server_hostname=address.host)
            except BaseException:
                raw.close()
                raise
        return connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_MOST_OF_AN_ANSWER = 64 * 1024
