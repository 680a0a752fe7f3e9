"""A plain handler as an ASGI application: a function or an object with ``__call__``, of a request or of nothing."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response

from pillion.applications.exchange import Exchange
from pillion.applications.request import Request
from pillion.applications.results import encoded, item_of
from pillion.authoring.context import CURRENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
    from concurrent.futures import Executor
    from types import GeneratorType

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["RawApplication"]

_END: Final = object()


class RawApplication:
    """See the module's docstring.

    Args:
        handler: what is called.
        threads: where plain functions run.
    """

    def __init__(self, handler: Callable[..., Any], threads: Executor) -> None:
        self._handler = handler
        self.threads = threads
        inner = handler.func if isinstance(handler, functools.partial) else handler
        code = inner if inspect.isroutine(inner) else type(inner).__call__
        self._async = inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code)
        self._generates = inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)
        self._takes = _takes_request(handler)
        self.direct = self._async and not self._generates
        """Whether it may answer without the channels of ASGI: plain functions run in threads, and streams are long."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": "this path takes no WebSockets"})
            return
        plain = await self.perform(Request(scope, receive, send), receive, send)
        if plain is None:
            return
        body, media = plain
        headers_out = [(b"content-length", b"%d" % len(body))]
        if media is not None:
            headers_out.append((b"content-type", media))
        await send({"type": "http.response.start", "status": 200, "headers": headers_out})
        await send({"type": "http.response.body", "body": body})

    async def perform(self, request: Request, receive: Receive, send: Send) -> tuple[bytes, bytes | None] | None:
        """Body and media type of an answer that is whole and plain; any other has been sent, and is None."""
        try:
            if self.direct:
                result = await (self._handler(request) if self._takes else self._handler())
            else:
                result = await self._result(request)
        except HTTPException as error:
            headers = dict(error.headers or {})
            await PlainTextResponse(str(error.detail), error.status_code, headers)(request.scope, receive, send)
            return None
        except ClientDisconnect:
            return None  # it left while its body was read
        if isinstance(result, Response):
            await result(request.scope, receive, send)
            return None
        if hasattr(result, "__anext__"):
            await self._stream(result, send)
            return None
        if inspect.isgenerator(result):
            await self._stream(_InThreads(result, self), send)
            return None
        return encoded(result)

    async def _result(self, request: Request) -> Any:  # noqa: ANN401 - the handler's own
        arguments = (request,) if self._takes else ()
        if self._generates:
            if not self._async and self._takes:
                await request.body()
            return self._handler(*arguments)
        if self._async:
            return await self._handler(*arguments)
        if self._takes:
            await request.body()
        result = await self.in_thread(self._handler, *arguments)
        return await result if inspect.isawaitable(result) else result

    async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - handed on
        """Call a plain function in a thread. When nobody waits any more it is left alone, and its place is held."""
        context = contextvars.copy_context()
        begun = self.threads.submit(context.run, call, *arguments)
        work = asyncio.wrap_future(begun)
        working = CURRENT.get()
        if isinstance(working, Exchange):
            working.hold(work)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            begun.cancel()  # what waits for a thread is never begun; what runs is left alone
            raise

    async def _stream(self, items: AsyncIterator[Any], send: Send) -> None:
        """Send each item when it is there; what goes wrong before the first is a plain error."""
        try:
            first = await anext(items, _END)
            chunk, media = (b"", b"text/plain; charset=utf-8") if first is _END else item_of(first)
            headers = [(b"content-type", media), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if first is not _END:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                async for item in items:
                    await send({"type": "http.response.body", "body": item_of(item)[0], "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()


def _takes_request(handler: Callable[..., Any]) -> bool:
    """Whether it has a place for the request; what was bound by name has none."""
    kinds = {parameter.kind for parameter in inspect.signature(handler).parameters.values()}
    return bool(kinds & {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL})


class _InThreads:
    """A generator of plain code, stepped in threads and closed between its items."""

    def __init__(self, items: GeneratorType[Any, Any, Any], raw: RawApplication) -> None:
        self._items = items
        self._raw = raw
        working = CURRENT.get()
        if isinstance(working, Exchange):
            working.closes(items, raw.threads)  # where the end of its task comes before it could
        self._step: asyncio.Future[Any] | None = None

    def __aiter__(self) -> _InThreads:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - the generator's own
        self._step = asyncio.ensure_future(self._raw.in_thread(next, self._items, _END))
        item = await asyncio.shield(self._step)
        if item is _END:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Run the generator's ``finally``; a step that is in progress is waited for, as it cannot be interrupted."""
        if self._step is not None and not self._step.done():
            await asyncio.wait((self._step,))
        await self._raw.in_thread(self._items.close)
