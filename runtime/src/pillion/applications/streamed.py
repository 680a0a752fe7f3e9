"""A request that comes by ASGI's channels, with what a request that came whole has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from pillion.transport.http.departure import Departure

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["Arrived", "Streamed"]


class Arrived(Protocol):
    """A request: :class:`Streamed`, or :class:`~pillion.transport.http.handled.Handled`."""

    body: bytes
    """All of it, where it is there."""
    root: str
    """Below which a proxy publishes all."""
    task: asyncio.Task[None] | None
    """What works for it."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """By names in lower case."""
        ...

    @property
    def departure(self) -> Departure | None:
        """Tells of the client's leaving, where the connection does."""
        ...

    @property
    def whole(self) -> bool:
        """Whether the body is there."""
        ...

    @property
    def head(self) -> bool:
        """Whether only the head of an answer is asked for."""
        ...

    def scope(self) -> Scope:
        """ASGI's, with the whole path: one of its own for who asks."""
        ...

    async def receive(self) -> Message:
        """ASGI's channel."""
        ...

    async def send(self, message: Message) -> None:
        """The other."""
        ...

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """Send a whole answer; False where the channel has to be used."""
        ...

    def cut(self) -> None:
        """End the connection after what was sent: an answer whose end is missing is seen to be broken."""
        ...

    def ended(self) -> None:
        """Nothing works for it any more."""
        ...


class Streamed:
    """See the module's docstring. Made in the task that works for it.

    Args:
        scope: ASGI's.
        receive: the channel.
        send: the other.
    """

    whole = False
    body = b""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self.receive: Any = receive  # a function in the place of a method
        self.send: Any = send  # as above
        self.headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        self.departure: Departure | None = scope.pop("pillion.departure", None)
        self.head: bool = scope["method"] == "HEAD"
        self.root: str = scope.get("root_path") or ""
        self.task: asyncio.Task[None] | None = asyncio.current_task()

    def scope(self) -> Scope:
        """A copy of ASGI's."""
        return {**self._scope}

    def answer(self, _status: int, _lines: bytes, _body: bytes) -> bool:
        """Not without the channel."""
        return False

    def cut(self) -> None:
        """Where the connection tells of the client's leaving, it can be ended."""
        if self.departure is not None:
            self.departure.cut()

    def ended(self) -> None:
        """Who called the application sees for itself."""
