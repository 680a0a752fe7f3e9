"""Bytes of bodies that are in memory at a time, over all connections and both ports.

Every body is bounded, and so are connections, but their product is not what a pod has. Small bodies are left alone:
there the bound of connections does.
"""

from __future__ import annotations

from typing import Final

from pillion.errors import ErrorCode, PillionError

__all__ = ["SMALL", "UNREAD", "BodyBudget"]

SMALL: Final = 64 * 1024
"""Bytes of a body that is not counted."""
UNREAD: Final = "Content-Length"
"""The ``field`` of a refusal that leaves the body unread."""
_RETRY_SECONDS: Final = 1.0


class BodyBudget:
    """``limit`` bytes for all bodies of one server. Event loop's thread only."""

    __slots__ = ("_limit", "used")

    def __init__(self, limit: int = 1024 * 1024 * 1024) -> None:
        self._limit = limit
        self.used = 0

    def take(self, size: int) -> None:
        """Have ``size`` bytes more.

        Raises:
            PillionError: ``QUEUE_FULL``.
        """
        if self.used + size > self._limit:
            raise PillionError(
                ErrorCode.QUEUE_FULL,
                f"{self.used} bytes of bodies are in memory and {size} more would pass the limit"
                f" (limits.max_body_bytes_in_flight {self._limit})",
                field=UNREAD,
                remedy="try again later",
                retry_after=_RETRY_SECONDS,
            )
        self.used += size

    def free(self, size: int) -> None:
        """Give ``size`` bytes back."""
        self.used -= size
