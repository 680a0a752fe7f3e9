"""Pings of one connection, in both directions: the client's are counted (gRFC A8), ours show that it is there (A9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.wire import ConnectionFault, ErrorCode

if TYPE_CHECKING:
    from pillion.transport.grpc.http2.limits import ConnectionLimits
    from pillion.transport.grpc.http2.outgoing import Outgoing

__all__ = ["Pings"]

_ALIVE: Final = b"alive???"


class Pings:
    """See the module.

    Args:
        limits: bounds.
        out: to the client.
    """

    def __init__(self, limits: ConnectionLimits, out: Outgoing) -> None:
        self._limits = limits
        self._out = out
        self._strikes = 0
        self._last = 0.0
        self._asked: float | None = None

    def answer(self, payload: bytes, now: float, calls: int) -> None:
        """Answer one of the client's, which has so many calls open.

        Raises:
            ConnectionFault: they come too often.
        """
        # Clients measure the way by pings while answers come. Else, and as gRPC asks of servers, pings that are too
        # frequent end the connection; those of a client that waits for answers are counted as frames that say nothing.
        if self._out.sent:
            self._out.sent = False
            self._strikes = 0
        elif not calls and now - self._last < self._limits.min_ping_interval:
            self._strikes += 1
            if self._strikes > self._limits.ping_strikes:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        self._last = now
        self._out.write(wire.frame(wire.PING, wire.ACK, 0, payload))

    def sweep(self, now: float, heard: float) -> None:
        """Ask a client that has long said nothing whether it is there, and end one that does not answer. ``heard`` is
        when bytes came last.
        """
        if self._asked is not None and heard >= self._asked:
            self._asked = None
        if self._asked is not None:
            if now - self._asked > self._limits.keepalive_timeout:
                self._out.abort()
        elif now - heard > self._limits.keepalive_time:
            self._asked = now
            self._out.write(wire.frame(wire.PING, 0, 0, _ALIVE))
