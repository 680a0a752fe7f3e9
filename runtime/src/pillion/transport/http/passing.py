"""Passing requests over HTTP on to the pod that has the model, and its answer back as it comes.

The request goes as it came, with what shows who sent it: the other pod asks for the key anew. The client's leaving ends
the connection to the other pod, where it cancels the call.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pillion.dataplane.call import new_request_id
from pillion.transport.elsewhere import ABSENT, CONNECT_SECONDS, FORWARDED
from pillion.transport.http.answer import send_answer
from pillion.transport.http.body import ClientDisconnected, read_body
from pillion.transport.http.budget import hold
from pillion.transport.http.dispatcher import path_of
from pillion.transport.http.failures import error_shape, failed
from pillion.transport.http.headers import request_id
from pillion.transport.http.routes import Route, Target, resolve_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    import httpx

    from pillion.placementfile import Peer
    from pillion.transport.body_budget import BodyBudget
    from pillion.transport.elsewhere import Elsewhere

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["HttpPassing"]

_log: Final = logging.getLogger("pillion.http")
_FORWARDED: Final = FORWARDED.encode()
_ABSENT: Final = ((ABSENT.encode(), b"1"),)
_OF_CONNECTION: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
"""Headers of one connection (RFC 9110, 7.6.1), which are not passed on."""
_OF_BODY: Final = frozenset({b"content-length", b"expect", b"x-request-id", _FORWARDED})
_IN_PATHS: Final = "/:@!$&'()*+,;=~"
_IN_QUERIES: Final = f"{_IN_PATHS}?%"
"""Characters that stay as they are; others could not be sent, or would end the query."""
_HERE: Final = frozenset({Route.LOAD, Route.UNLOAD})
"""What is about this pod, whichever model it names."""
_KEPT_CONNECTIONS: Final = 64
_IDLE_SECONDS: Final = 10.0
"""Connections are let go of long before the other pod does it, which would cost a request."""


class HttpPassing:
    """Passes requests on.

    Args:
        elsewhere: whose models are where.
        port: on which the other pods listen where the placement names none.
        limit: bytes of a body.
        bodies: bytes of all bodies together.
        patience: seconds without a byte after which the other pod is given up.
    """

    def __init__(self, elsewhere: Elsewhere, port: int, limit: int, bodies: BodyBudget, patience: float) -> None:
        self._elsewhere = elsewhere
        self._port = port
        self._limit = limit
        self._bodies = bodies
        times = {"connect": CONNECT_SECONDS, "read": patience, "write": patience, "pool": patience}
        self._extensions: dict[str, Any] = {"timeout": times}
        self._transport: httpx.AsyncHTTPTransport | None = None

    def takes(self, target: Target) -> bool:
        """Whether the request is for a model that is not here."""
        return self._elsewhere.has(target.model) and target.route not in _HERE

    def task(self, path: str) -> Target | None:
        """The task of a model elsewhere that a path names, which no table of this pod has."""
        target = resolve_task(path)
        return target if target is not None and self.takes(target) else None

    async def __call__(
        self, target: Target, headers: Mapping[bytes, bytes], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request that it :meth:`takes`."""
        identity = request_id(headers) if b"x-request-id" in headers else new_request_id()
        held = hold(self._bodies, headers, receive)
        try:
            if _FORWARDED in headers:
                self._elsewhere.count("absent")
                error = self._elsewhere.absent(target.model)
                answer = error_shape(target.route)(error, identity, headers=_ABSENT)
                await send_answer(send, answer, identity, head=scope["method"] == "HEAD", close=True)
                return
            if target.route is Route.MODEL_READY:  # asked without a key, so nobody may have a body kept for it
                await self._until_left(self._exchange(target, identity, b"", scope, send), receive)
                return
            receiving = receive if held is None else held.receive
            body = await read_body(receiving, await receiving(), headers, self._limit)
            await self._until_left(self._exchange(target, identity, body, scope, send), receiving)
        except ClientDisconnected:
            return
        except Exception as error:  # noqa: BLE001 - the boundary, as in the dispatcher
            await send_answer(
                send, failed(error, identity, target), identity, head=scope["method"] == "HEAD", close=False
            )
        finally:
            if held is not None:
                held.release()

    async def close(self) -> None:
        """Let go of the connections."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def _until_left(self, working: Any, receive: Receive) -> None:  # noqa: ANN401 - a coroutine of ours
        """Run to the end, or as long as the client is there."""
        exchange = asyncio.ensure_future(working)
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({exchange, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.done():
                exchange.result()
        finally:
            for one in (exchange, leaving):
                one.cancel()
            await asyncio.wait({exchange, leaving})

    async def _exchange(
        self, target: Target, identity: str, body: bytes | memoryview, scope: Scope, send: Send
    ) -> None:
        import httpx  # noqa: PLC0415 - only pods with a placement pass requests on

        for peer in self._elsewhere.candidates(target.model):
            try:
                response = await self._opened().handle_async_request(self._request(peer, identity, body, scope))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                self._elsewhere.avoid(peer)
                continue
            except httpx.TransportError as error:
                self._elsewhere.count("lost")
                raise self._elsewhere.lost(target.model) from error
            try:
                if ABSENT in response.headers:
                    continue
                await self._passed_back(response, send)
                self._elsewhere.count("answered")
                return
            except httpx.TransportError as error:
                # The head is sent: an answer that is not brought to its end ends the connection.
                self._elsewhere.count("lost")
                _log.warning("a pod ended in the middle of its answer for %s: %r", target.model, error)
                return
            finally:
                await response.aclose()
        self._elsewhere.count("nowhere")
        raise self._elsewhere.nowhere(target.model)

    async def _passed_back(self, response: httpx.Response, send: Send) -> None:
        """Send what comes, piece by piece: it may be a stream of events."""
        headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _OF_CONNECTION]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        stream: Any = response.stream
        async for piece in stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _request(self, peer: Peer, identity: str, body: bytes | memoryview, scope: Scope) -> httpx.Request:
        import httpx  # noqa: PLC0415 - as above

        # Below the root, which the other pod puts in front again by the same settings and headers.
        path = quote(path_of(scope), safe=_IN_PATHS).encode()
        query = quote(scope.get("query_string") or b"", safe=_IN_QUERIES).encode()
        left_out = _OF_CONNECTION | _OF_BODY
        headers = [(name, value) for name, value in scope["headers"] if name not in left_out]
        headers += [(_FORWARDED, self._elsewhere.pod.encode()), (b"x-request-id", identity.encode())]
        host = f"[{peer.address}]" if ":" in peer.address else peer.address
        url = httpx.URL(f"http://{host}:{peer.http or self._port}").copy_with(
            raw_path=path + (b"?" + query if query else b"")
        )
        return httpx.Request(
            scope["method"], url, headers=headers, content=bytes(body) or None, extensions=self._extensions
        )

    def _opened(self) -> httpx.AsyncHTTPTransport:
        if self._transport is None:
            import httpx  # noqa: PLC0415 - as above

            limits = httpx.Limits(
                max_connections=None, max_keepalive_connections=_KEPT_CONNECTIONS, keepalive_expiry=_IDLE_SECONDS
            )
            # No proxy of the environment: these are pods of the same service.
            self._transport = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
        return self._transport


async def _left(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
