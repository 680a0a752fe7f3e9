"""How often something may happen: so many times at once, and then so many times a second."""

from __future__ import annotations

from pillion.transport.grpc.http2.wire import ConnectionFault, ErrorCode

__all__ = ["Budget"]


class Budget:
    """A bucket that fills with time."""

    __slots__ = ("_at", "_left", "_most", "_per_second")

    def __init__(self, most: float, per_second: float, now: float) -> None:
        self._most = most
        self._per_second = per_second
        self._left = most
        self._at = now

    def spend(self, now: float, what: str) -> None:
        """Take one.

        Raises:
            ConnectionFault: none is left. ``what`` says of what there were too many.
        """
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what}")
        self._left -= 1
