"""Bytes of request bodies that are in memory at a time, over all connections.

Every body is bounded, and so are connections, but their product is not what a pod has. Small bodies are left alone:
there the bound of connections does. A body that states its length reserves it before a byte is read; a chunked one
reserves what arrives, and a compressed one also what it expands to. The bytes are free again when the request has been
answered, since tensors may be views of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]

__all__ = ["UNREAD", "BodyBudget", "HeldBytes"]

UNREAD: Final = "Content-Length"
"""The ``field`` of a refusal that leaves the body unread."""
_SMALL: Final = 64 * 1024
_RETRY_SECONDS: Final = 1.0


class BodyBudget:
    """``limit`` bytes for all bodies of one server. Event loop's thread only."""

    __slots__ = ("_limit", "used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def hold(self, headers: Mapping[bytes, bytes], receive: Receive) -> HeldBytes | None:
        """What a request with these headers may take; None for one whose body is small."""
        stated = headers.get(b"content-length", b"")
        if stated.isdigit() and len(stated) < 19:
            size = int(stated)
        elif b"transfer-encoding" in headers:
            size = 0
        else:
            return None
        coded = headers.get(b"content-encoding", b"identity") != b"identity"
        if size <= _SMALL and not coded and b"transfer-encoding" not in headers:
            return None
        return HeldBytes(self, size, receive)

    def take(self, size: int) -> None:
        """Have ``size`` bytes more.

        Raises:
            PillionError: ``QUEUE_FULL``.
        """
        if self.used + size > self._limit:
            raise PillionError(
                ErrorCode.QUEUE_FULL,
                f"{self.used} bytes of request bodies are in memory and {size} more would pass the limit"
                f" (limits.max_body_bytes_in_flight {self._limit})",
                field=UNREAD,
                remedy="try again later",
                retry_after=_RETRY_SECONDS,
            )
        self.used += size


class HeldBytes:
    """The bytes of one request. ``receive`` takes the place of the ASGI channel."""

    __slots__ = ("_budget", "_held", "_inner", "_read", "_stated")

    def __init__(self, budget: BodyBudget, stated: int, receive: Receive) -> None:
        self._budget = budget
        self._inner = receive
        self._stated = stated
        self._held = 0
        self._read = 0

    async def receive(self) -> Message:
        """The next message.

        Raises:
            PillionError: ``QUEUE_FULL``: there is no room for the body.
        """
        if self._stated and not self._held:
            self._take(self._stated)
        message = await self._inner()
        self._read += len(message.get("body", b""))
        if self._read > self._held:
            self._take(self._read - self._held)
        return message

    def also(self, size: int) -> None:
        """So many bytes beside those that were received.

        Raises:
            PillionError: ``QUEUE_FULL``: there is no room for them.
        """
        self._take(size)

    def _take(self, size: int) -> None:
        self._budget.take(size)
        self._held += size

    def release(self) -> None:
        """The request has been answered."""
        self._budget.used -= self._held
        self._held = 0
