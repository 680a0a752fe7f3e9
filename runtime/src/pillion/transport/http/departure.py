"""How who works for a client gets to know that it has left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["Departure", "Watcher"]


class Watcher(Protocol):
    """Who works for a client."""

    def left(self) -> None:
        """The client has left."""
        ...


class Departure:
    """Of one connection; in the scope of its requests as ``pillion.departure``.

    ASGI tells of a client's leaving only to who awaits a message, and that may be the application, which must not lose
    its body to somebody else. So the connection calls back.
    """

    __slots__ = ("transport", "watchers")

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()
        """Told once when the client leaves. Who is done takes itself out."""
        self.transport: asyncio.Transport | None = None

    def happened(self) -> None:
        """The connection has ended."""
        self.transport = None
        watchers, self.watchers = self.watchers, set()
        for watcher in watchers:
            watcher.left()

    def cut(self) -> None:
        """End the connection after what was written: an answer whose end is missing is seen to be broken."""
        if self.transport is not None:
            self.transport.close()
