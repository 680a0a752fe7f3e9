"""The application in front of the dispatcher where a key is asked for. Without a key it is not there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.dataplane.call import WireProtocol, new_request_id
from pillion.errors import PillionError
from pillion.transport.http.answer import error_answer, refuse_connection, send_answer
from pillion.transport.http.dispatcher import path_of
from pillion.transport.http.failures import error_shape
from pillion.transport.http.headers import request_id
from pillion.transport.http.routes import Route, resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.dataplane.call import InferencePlane
    from pillion.transport.authentication import Callers
    from pillion.transport.http.direct import DirectAnswer, DirectCall
    from pillion.transport.http.dispatcher import Dispatcher

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["Guard"]

_OPEN: Final = frozenset({Route.LIVE, Route.READY, Route.MODEL_READY, Route.HEALTHZ})
_V1: Final = frozenset({Route.V1_PREDICT, Route.V1_EXPLAIN})
_CHALLENGE: Final = ((b"www-authenticate", b"Bearer"), (b"connection", b"close"))
"""The body was not read, so the connection cannot be used again."""


class Guard:
    """An ASGI 3 application, and a :class:`~pillion.transport.http.direct.DirectApplication`.

    Args:
        app: what answers those who show the key.
        key: says who may call.
        plane: counts those who do not.
    """

    def __init__(self, app: Dispatcher, key: Callers, plane: InferencePlane) -> None:
        self._app = app
        self._key = key
        self._plane = plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection scope, as ASGI defines it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        whole = self._app.whole(scope)
        target = resolve(path_of(whole)) if scope["type"] == "http" else None
        # Asked of who answers it: an application below such a path is not open.
        if target is not None and target.route in _OPEN and self._app.application(whole) is None:
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            await self._key.admit(headers.get(b"authorization"), headers.get(b"x-api-key"))
        except PillionError as error:
            protocol = WireProtocol.V1 if target is not None and target.route in _V1 else WireProtocol.REST
            self._plane.refused(error, protocol, "" if target is None else target.model)
            identity = request_id(headers) if b"x-request-id" in headers else new_request_id()
            shape = error_answer if target is None else error_shape(target.route)
            answer = shape(error, identity, headers=_CHALLENGE)
            if scope["type"] == "websocket":
                await refuse_connection(scope, send, error, answer, identity)
            else:
                await send_answer(send, answer, identity, head=scope["method"] == "HEAD", close=False)
            return
        await self._app(scope, receive, send)

    def knows(self, target: bytes) -> bool:
        """See :class:`~pillion.transport.http.direct.DirectApplication`."""
        return self._app.knows(target)

    def gather(self, requests: int) -> None:
        """See :class:`~pillion.transport.http.direct.DirectApplication`."""
        self._app.gather(requests)

    def flush(self) -> None:
        """See :class:`~pillion.transport.http.direct.DirectApplication`."""
        self._app.flush()

    def begin(
        self,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        client: Callable[[], str] | None = None,
    ) -> DirectAnswer | DirectCall | None:
        """Let those who show the key through; the others are refused on the ordinary way."""
        shown = dict(headers)
        try:
            self._key.check(shown.get(b"authorization"), shown.get(b"x-api-key"))
        except PillionError:
            return None
        return self._app.begin(target, headers, body, client)
