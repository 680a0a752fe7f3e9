"""The sink of events, reached only where it may be.

The sink's URL is written by whoever may create an InferenceService, and this process sends from inside the network, as
storage does: so the same rule about addresses holds, checked at the very address that is connected to.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

from pillion.posting import Poster
from pillion.storage.addresses import connect
from pillion.storage.errors import Reason, StorageError
from pillion.web_address import web_address

if TYPE_CHECKING:
    import socket
    import ssl

    from pillion.payload.options import PayloadOptions

__all__ = ["Sink", "SinkError"]


class SinkError(Exception):
    """An event was not delivered; the text says why."""


class Sink:
    """Posts one event at a time. For one thread."""

    def __init__(self, options: PayloadOptions, context: ssl.SSLContext | None) -> None:
        self._options = options
        self._address = web_address(options.url, of="a sink")
        self._poster = Poster(self._address, options.timeout, context, self._connected)

    def post(self, headers: dict[str, str], body: bytes) -> None:
        """Deliver one event: any answer of 2xx counts. It may arrive twice, with one id.

        Raises:
            SinkError: it was not delivered.
        """
        if self._options.bearer_token:
            headers = {**headers, "authorization": f"Bearer {self._options.bearer_token}"}
        try:
            status = self._poster.post(headers, body).status
        except StorageError as error:
            if error.reason is Reason.FORBIDDEN_ADDRESS:
                raise SinkError(
                    f"the sink {self._address.host} is at a loopback, link-local or metadata address, which events are"
                    " not sent to; for a sink on this machine or in this pod set logger.allow_loopback"
                ) from error
            raise SinkError(str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise SinkError(f"{type(error).__name__}: {error}") from error
        if not 200 <= status < 300:
            raise SinkError(f"the sink answered {status}")

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._poster.close()

    def _connected(self) -> socket.socket:
        return connect(
            self._address.host,
            self._address.port,
            timeout=self._options.timeout,
            allow_private_hosts=self._options.allow_loopback,
        )
