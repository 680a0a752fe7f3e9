"""How a client is asked to leave, so that no call on its way is lost (RFC 9113, section 6.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.wire import ErrorCode

if TYPE_CHECKING:
    from pillion.transport.grpc.http2.limits import ConnectionLimits
    from pillion.transport.grpc.http2.open_streams import OpenStreams
    from pillion.transport.grpc.http2.outgoing import Outgoing

__all__ = ["Leaving"]

_GOING: Final = b"goaway!!"
"""The content of the ping by whose answer a client shows that it knows of the GOAWAY."""


class Leaving:
    """In two steps: a GOAWAY that still allows every stream, and once the client knows of it, one with the last.

    Args:
        limits: bounds.
        out: to the client.
        streams: of the connection.
        ages_at: when the client is asked to leave whatever else happens.
    """

    def __init__(self, limits: ConnectionLimits, out: Outgoing, streams: OpenStreams, ages_at: float) -> None:
        self._limits = limits
        self._out = out
        self._streams = streams
        self._ages_at = ages_at
        self._since: float | None = None

    def begin(self, now: float) -> None:
        """Ask the client to leave: streams that are on their way are still served, then those in progress end."""
        if self._since is None and not self._out.ended:
            self._since = now
            self._out.write(wire.goaway(wire.LARGEST_WINDOW, ErrorCode.NO_ERROR) + wire.frame(wire.PING, 0, 0, _GOING))

    def pinged_back(self, payload: bytes) -> None:
        """The client has answered a ping."""
        if payload == _GOING:
            self._tell_last()

    def sweep(self, now: float) -> bool:
        """Look at the clock; gives whether the client has had all the time that it gets."""
        if self._since is None:
            if now >= self._ages_at:
                self.begin(now)
            return False
        if now - self._since > self._limits.max_age_grace:
            return True
        if now - self._since > self._limits.keepalive_timeout:
            # A client that does not answer pings is told the last stream all the same.
            self._tell_last()
        return False

    def _tell_last(self) -> None:
        if self._since is not None and not self._streams.refusing and not self._out.ended:
            self._out.write(wire.goaway(self._streams.last, ErrorCode.NO_ERROR))
            self._streams.refuse_new()
