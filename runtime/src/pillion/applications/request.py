"""``pillion.Request``: Starlette's, with the body at hand for plain functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]

__all__ = ["Request", "WholeRequest"]


class Request(StarletteRequest):
    """Starlette's request.

    ``content`` is the whole body for handlers that are plain functions, which cannot await ``body()``: it is read
    before they are called.
    """

    @property
    def content(self) -> bytes:
        """The whole body.

        Raises:
            RuntimeError: it has not been read, in an ``async`` handler: ``await request.body()`` reads it.
        """
        try:
            return self._body
        except AttributeError:
            raise RuntimeError("the body has not been read: await request.body()") from None

    async def body(self) -> bytes:
        """The whole body; Starlette's way, without a generator for one that comes in one piece.

        Raises:
            ClientDisconnect: the client left before it was complete.
        """
        if hasattr(self, "_body") or self._stream_consumed:
            return await super().body()
        pieces: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._is_disconnected = True
                raise ClientDisconnect
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        self._stream_consumed = True
        self._body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return self._body


class HasScope(Protocol):
    """What makes the scope when it is asked."""

    @property
    def scope(self) -> Scope:
        """ASGI's."""
        ...


class WholeRequest(Request):
    """One whose body is here, and whose scope is made when somebody looks at it: many handlers never do.

    Args:
        source: has the scope.
        receive: the ASGI channel.
        send: the other.
        body: all of it.
    """

    def __init__(
        self,
        source: HasScope,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        body: bytes,
    ) -> None:
        # Not Starlette's own, which takes the scope.
        self._source = source
        self._receive = receive
        self._send = send
        self._body = body
        self._stream_consumed = self._is_disconnected = False
        self._form = None

    @property
    def scope(self) -> Scope:  # type: ignore[override]  # an attribute of Starlette's
        """ASGI's."""
        return self._source.scope

    async def body(self) -> bytes:
        """The whole body."""
        return self._body
