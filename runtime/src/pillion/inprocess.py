"""An ASGI application as a transport of httpx, with streams that arrive as they are sent and clients that leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping

    from pillion.loop_beside import LoopBeside
    from pillion.transport.http.departure import Departure

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["InProcess", "InProcessFromThreads"]

_MOST_AHEAD = 16
"""Pieces that a stream may be ahead of its reader, as a connection's buffer lets it be."""


class _Exchange:
    """One request, from both ends."""

    def __init__(self, request: httpx.Request, body: bytes) -> None:
        from pillion.transport.http.departure import Departure  # noqa: PLC0415 - `import pillion` is to stay light

        self._body: bytes | None = body
        self.departure: Departure = Departure()
        self.departure.transport = cast("asyncio.Transport", self)  # it is only ever closed
        self.started: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_MOST_AHEAD)
        self.complete = False
        self.cut = False
        self._left = asyncio.Event()
        url = request.url
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 0),
            "state": {},
            "pillion.departure": self.departure,
        }

    async def receive(self) -> Message:
        """The application's channel."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """The other."""
        if message["type"] == "http.response.start":
            if not self.started.done():
                self.started.set_result(message)
            return
        if self._left.is_set():
            return
        if message.get("body"):
            await self.pieces.put(message["body"])
        if not message.get("more_body", False):
            self.complete = True
            await self.pieces.put(None)

    def close(self) -> None:
        """The server cuts the connection (as a transport of asyncio)."""
        self.cut = True

    def leave(self) -> None:
        """The client leaves."""
        self._left.set()
        while not self.pieces.empty():
            self.pieces.get_nowait()  # who waits to send is let go
        self.departure.happened()


class _Pieces(httpx.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, exchange: _Exchange, task: asyncio.Task[None], request: httpx.Request) -> None:
        self._exchange = exchange
        self._task = task
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange = self._exchange
        while True:
            piece = await _next(exchange, self._task)
            if piece is None:
                if not exchange.complete:
                    raise httpx.RemoteProtocolError("the answer was cut before its end", request=self._request)
                return
            yield piece

    async def aclose(self) -> None:
        if not self._exchange.complete or not self._exchange.pieces.empty():
            self._exchange.leave()


async def _next(exchange: _Exchange, task: asyncio.Task[None]) -> bytes | None:
    """The next piece; None after the last, or where the application has ended without one."""
    taking = asyncio.ensure_future(exchange.pieces.get())
    try:
        await asyncio.wait((taking, task), return_when=asyncio.FIRST_COMPLETED)
        if not taking.done() and not exchange.pieces.empty():
            await taking
        return taking.result() if taking.done() else None
    finally:
        taking.cancel()


class InProcess(httpx.AsyncBaseTransport):
    """See the module's docstring.

    Args:
        app: what answers. Its lifespan is somebody else's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return when its answer begins.

        Raises:
            httpx.ReadTimeout: it did not begin within the client's time; then the client has left.
            httpx.RemoteProtocolError: the application ended without an answer.
        """
        body = await request.aread()
        exchange = _Exchange(request, body)
        task = asyncio.create_task(self._answer(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        seconds = (request.extensions.get("timeout") or {}).get("read")
        try:
            await asyncio.wait((exchange.started, task), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            exchange.leave()
            raise
        if not exchange.started.done():
            if not task.done():
                exchange.leave()
                raise httpx.ReadTimeout(f"no answer within {seconds:g} s", request=request)
            raise httpx.RemoteProtocolError("the server ended without an answer", request=request)
        start = exchange.started.result()
        return httpx.Response(
            start["status"], headers=start.get("headers", []), stream=_Pieces(exchange, task, request), request=request
        )

    async def _answer(self, exchange: _Exchange) -> None:
        await self._app(exchange.scope, exchange.receive, exchange.send)

    async def aclose(self) -> None:
        """Nothing: what is in progress is the server's to end."""


class InProcessFromThreads(httpx.BaseTransport):
    """The same for clients in other threads than the application's.

    Args:
        inner: on the application's loop.
        beside: that.
    """

    def __init__(self, inner: InProcess, beside: LoopBeside) -> None:
        self._inner = inner
        self._beside = beside

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As :meth:`InProcess.handle_async_request`."""
        again = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.read(), extensions=request.extensions
        )
        answer = self._beside.run(self._inner.handle_async_request(again))
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_FromThreads(self._beside, answer.stream),
            request=request,
        )


class _FromThreads(httpx.SyncByteStream):
    def __init__(self, beside: LoopBeside, stream: httpx.AsyncByteStream) -> None:
        self._beside = beside
        self._stream = stream
        self._pieces = aiter(stream)

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._beside.run(_step(self._pieces))) is not None:
            yield piece

    def close(self) -> None:
        self._beside.run(self._stream.aclose())


async def _step(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)
