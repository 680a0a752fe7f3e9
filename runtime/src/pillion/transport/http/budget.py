"""The bytes that one request takes of the budget for bodies.

A body that states its length reserves it before a byte is read; a chunked one reserves what arrives, and a compressed
one also what it expands to. The bytes are free again when the request has been answered, since tensors may be views of
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.transport.body_budget import SMALL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.transport.body_budget import BodyBudget

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]

__all__ = ["HeldBytes", "hold"]


def hold(budget: BodyBudget, headers: Mapping[bytes, bytes], receive: Receive) -> HeldBytes | None:
    """What a request with these headers may take; None for one whose body is small."""
    stated = headers.get(b"content-length", b"")
    if stated.isdigit() and len(stated) < 19:
        size = int(stated)
    elif b"transfer-encoding" in headers:
        size = 0
    else:
        return None
    coded = headers.get(b"content-encoding", b"identity") != b"identity"
    if size <= SMALL and not coded and b"transfer-encoding" not in headers:
        return None
    return HeldBytes(budget, size, receive)


class HeldBytes:
    """The bytes of one request. ``receive`` takes the place of the ASGI channel."""

    __slots__ = ("_budget", "_held", "_inner", "_read", "_stated")

    def __init__(self, budget: BodyBudget, stated: int, receive: Receive) -> None:
        self._budget = budget
        self._inner = receive
        self._stated = stated
        self._held = 0
        self._read = 0

    def reserve(self) -> None:
        """Take the bytes that the body is stated to have.

        Raises:
            PillionError: ``QUEUE_FULL``: there is no room for it.
        """
        if self._stated and not self._held:
            self._take(self._stated)

    async def receive(self) -> Message:
        """The next message.

        Raises:
            PillionError: ``QUEUE_FULL``: there is no room for the body.
        """
        self.reserve()
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
        self._budget.free(self._held)
        self._held = 0
