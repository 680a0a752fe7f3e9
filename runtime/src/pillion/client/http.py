"""The transports over HTTP: one that waits in the thread, one on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import httpx

from pillion.client.connection import Counted, arguments, opened, options, out_of_time, told, transport_options
from pillion.client.errors import error_of
from pillion.client.events import Events, Lines
from pillion.client.exchange import Answer
from pillion.client.tls import Watch
from pillion.client.uploads import Ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pillion.client.address import Address
    from pillion.client.events import Event
    from pillion.client.exchange import Request

__all__ = ["HTTP", "AsyncHTTP"]


class _Pool:
    """Connections made by one state of the certificates; closed when others have taken over and its calls ended."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - httpx.Client or httpx.AsyncClient
        self.client = client
        self.calls = 0
        self.replaced = False


class HTTP:
    """Blocking; from any thread."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._watch = None if address.tls is None else Watch(address.tls)
        self._pool = self._made()

    def _made(self) -> _Pool:
        transport = httpx.HTTPTransport(**transport_options(self._address))
        return _Pool(httpx.Client(transport=transport, **options(self._address)))

    @contextlib.contextmanager
    def _held(self) -> Iterator[httpx.Client]:
        done: _Pool | None = None
        with self._lock:
            if self._watch is not None and self._watch.changed():
                done, self._pool = self._pool, self._made()
                done.replaced = True
            pool = self._pool
            pool.calls += 1
        if done is not None and not done.calls:
            done.client.close()
        try:
            yield pool.client
        finally:
            with self._lock:
                pool.calls -= 1
                over = pool.replaced and not pool.calls
            if over:
                pool.client.close()

    def send(self, request: Request, timeout: float) -> Answer:
        """The answer, within ``timeout`` seconds; of an upload after its last piece.

        Raises:
            ClientError: there is none, or an error.
        """
        ends = Ends(timeout)
        with contextlib.ExitStack() as held, told(self._address, timeout):
            client = held.enter_context(self._held())
            said = arguments(self._address, request, timeout, held.enter_context(opened()))
            if request.content:
                said["content"] = iter(request.content)
            built = client.build_request(**said)
            if request.upload is not None:
                built.stream = Counted(built, request.upload, ends.put_off)
            response = client.send(built, stream=True)
            held.callback(response.close)
            headers = dict(response.headers)
            if request.streams and not response.is_error:
                return Answer(headers, live=(_heard(response, request), held.pop_all()))
            pieces = []
            for piece in response.iter_bytes():
                pieces.append(piece)
                if ends.left < 0:
                    raise out_of_time(self._address, timeout)
            body = b"".join(pieces)
        if response.is_error:
            raise error_of(response.status_code, headers, body)
        return Answer(headers, body)

    def events(self, answer: Answer) -> Iterator[Event]:
        """Those of a stream; ended early, the server sees its client leave."""
        response, held = answer.live
        lines, events = Lines(), Events()
        with held, told(self._address, _silence(response)):
            for piece in response.iter_bytes():
                for line in lines.feed(piece):
                    event = events.feed(line)
                    if event is not None:
                        yield event

    def close(self) -> None:
        """End the connections."""
        self._pool.client.close()


class AsyncHTTP:
    """On an event loop."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._watch = None if address.tls is None else Watch(address.tls)
        self._pool = self._made()

    def _made(self) -> _Pool:
        transport = httpx.AsyncHTTPTransport(**transport_options(self._address))
        return _Pool(httpx.AsyncClient(transport=transport, **options(self._address)))

    @contextlib.asynccontextmanager
    async def _held(self) -> AsyncIterator[httpx.AsyncClient]:
        if self._watch is not None and self._watch.changed():
            done, self._pool = self._pool, self._made()
            done.replaced = True
            if not done.calls:
                await done.client.aclose()
        pool = self._pool
        pool.calls += 1
        try:
            yield pool.client
        finally:
            pool.calls -= 1
            if pool.replaced and not pool.calls:
                await pool.client.aclose()

    async def send(self, request: Request, timeout: float) -> Answer:  # noqa: ASYNC109 - of the whole call, retries included
        """As :meth:`HTTP.send`."""
        try:
            async with asyncio.timeout(timeout) as limit:
                loop = asyncio.get_running_loop()
                return await self._sent(request, timeout, lambda: limit.reschedule(loop.time() + timeout))
        except TimeoutError:
            raise out_of_time(self._address, timeout) from None

    async def _sent(self, request: Request, timeout: float, put_off: Callable[[], None]) -> Answer:  # noqa: ASYNC109 - said in failures
        async with contextlib.AsyncExitStack() as held:
            with told(self._address, timeout):
                client = await held.enter_async_context(self._held())
                said = arguments(self._address, request, timeout, held.enter_context(opened()))
                if request.content:
                    said["content"] = _pieces(request)
                built = client.build_request(**said)
                if request.upload is not None:
                    built.stream = Counted(built, request.upload, put_off)
                response = await client.send(built, stream=True)
                held.push_async_callback(response.aclose)
                headers = dict(response.headers)
                if request.streams and not response.is_error:
                    return Answer(headers, live=(_heard(response, request), held.pop_all()))
                body = await response.aread()
            if response.is_error:
                raise error_of(response.status_code, headers, body)
            return Answer(headers, body)

    async def events(self, answer: Answer) -> AsyncIterator[Event]:
        """As :meth:`HTTP.events`."""
        response, held = answer.live
        lines, events = Lines(), Events()
        async with held:
            with told(self._address, _silence(response)):
                async for piece in response.aiter_bytes():
                    for line in lines.feed(piece):
                        event = events.feed(line)
                        if event is not None:
                            yield event

    async def close(self) -> None:
        """End the connections."""
        await self._pool.client.aclose()


def _heard(response: httpx.Response, request: Request) -> httpx.Response:
    """From here on the time is that between signs of life."""
    if request.silence is not None:
        response.request.extensions["timeout"]["read"] = request.silence
    return response


def _silence(response: httpx.Response) -> float:
    seconds: float = response.request.extensions["timeout"]["read"]
    return seconds


async def _pieces(request: Request) -> AsyncIterator[bytes | memoryview]:
    for piece in request.content:
        yield piece
