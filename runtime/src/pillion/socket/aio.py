"""The client for programs with an event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
from collections import deque
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from pillion.ordered_answers import answers
from pillion.socket.address import Address
from pillion.socket.application import NOTHING
from pillion.socket.calls import Call, ordered
from pillion.socket.connection import Connection
from pillion.socket.errors import EnqueueTimeoutError, NotServedError, ProtocolError
from pillion.socket.frames import Kind
from pillion.socket.room import Room

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable

    from pillion.socket.calls import Order

__all__ = ["AsyncSocketClient"]

_log: Final = logging.getLogger("pillion.socket")
_FIRST_DELAY: Final = 0.02
_LONGEST_DELAY: Final = 1.0
_IN_PROGRESS: Final = 64


class AsyncSocketClient:
    """Calls a :class:`~pillion.socket.SocketServer`::

        async with AsyncSocketClient(path="/run/app.sock") as client:
            await client.request("/double", 2.0)

    Args:
        path: of its unix socket.
        host: of its TCP port; 127.0.0.1 by default.
        port: of TCP.
        num_connections: how many are kept; requests share them, and answers come in any order.
        connection_timeout: seconds to wait for the server to appear, at the start and whenever it is gone.
        backlog: requests that wait or run at a time; more wait for room.
        tls: a context of the client's side; the server's certificate has to be for ``host``.
        token: the secret that the server asks for.
        max_bytes: of an answer.
        stall_seconds: for the server to greet, and to go on within an answer that it has begun.

    Raises:
        ValueError: what was given does not go together.
    """

    def __init__(
        self,
        *,
        path: str | os.PathLike[str] | None = None,
        host: str | None = None,
        port: int | None = None,
        num_connections: int = 1,
        connection_timeout: float = 60.0,
        backlog: int = 2048,
        tls: ssl.SSLContext | None = None,
        token: str | None = None,
        max_bytes: int = 64 * 1024 * 1024,
        stall_seconds: float = 30.0,
    ) -> None:
        if num_connections < 1 or backlog < 1:
            raise ValueError("num_connections and backlog have to be 1 at least")
        self._address = Address.of(path, host, port)
        if self._address.path and tls is not None:
            raise ValueError("tls is for TCP: over a unix socket nothing leaves the machine")
        self._count = num_connections
        self._timeout = connection_timeout
        self._backlog = backlog
        self._tls = tls
        self._token = token
        self._max_bytes = max_bytes
        self._stall_seconds = stall_seconds
        self._numbers = itertools.count(1)
        self._connections: list[Connection] = []
        self._leaving: set[Connection] = set()
        self._waiting: deque[Call] = deque()
        self._keepers: set[asyncio.Task[None]] = set()
        self._room = Room(backlog)
        self._posts: set[asyncio.Future[Any]] = set()
        self._failure: Exception | None = None
        self._open = False

    # --- life

    async def __aenter__(self) -> Self:
        if self._open:
            raise RuntimeError("the client is open already")
        self._open, self._failure = True, None
        first = asyncio.get_running_loop().create_future()
        self._keepers = {asyncio.create_task(self._keep(first)) for _ in range(self._count)}
        try:
            await first
        except BaseException:
            first.cancel()
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        posts = set(self._posts)
        try:
            if posts:
                await asyncio.wait(posts, timeout=self._timeout)
        finally:
            await self._close()

    async def _close(self) -> None:
        self._open = False
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        connections = [*self._connections, *self._leaving]
        for connection in connections:
            connection.channel.finish()
        if connections:
            await asyncio.wait([connection.channel.closed for connection in connections], timeout=1.0)
        for connection in connections:
            connection.channel.abort()
        self._fail_waiting(NotServedError("the client was closed"))

    # --- requests

    async def request(
        self,
        path: str,
        data: object = NOTHING,
        *,
        enqueue_timeout: float | None = None,
        response_timeout: float | None = None,
    ) -> Any:  # noqa: ANN401 - what the function of the path gives
        """The answer of a path.

        Args:
            path: of the application.
            data: what its function takes; leave it out where it takes none.
            enqueue_timeout: seconds until the request begins to be sent; None waits.
            response_timeout: seconds from then to the answer; None waits. 0: no answer is wanted, and None is given as
                soon as there is room for the request in the backlog; it leaves before the client does.

        Raises:
            EnqueueTimeoutError: it was never sent.
            ResponseTimeoutError: it was, and is not answered.
            NotServedError: there was no server for ``connection_timeout`` seconds.
            ConnectionLostError: it was sent, and the connection ended.
            RemoteError: what the function raised.
            TypeError: the data cannot be sent.
        """
        return await self.asked(ordered(path, data, enqueue_timeout, response_timeout))

    async def asked(self, order: Order) -> Any:  # noqa: ANN401 - as request()
        """The answer to what was packed before."""
        loop = asyncio.get_running_loop()
        deadline = None if order.enqueue_timeout is None else loop.time() + order.enqueue_timeout
        if not self._room.take_now():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._room.take()
            except TimeoutError:
                raise EnqueueTimeoutError(
                    f"{order.path}: the request was not sent: there are {self._backlog} others (backlog)"
                ) from None
        call = self._begun(order, deadline)
        if order.kind is Kind.POST and not call.answer.done():
            return None
        try:
            return await call.answer
        except asyncio.CancelledError:
            call.give_up()
            raise

    def ask_now(self, order: Order) -> Call | None:
        """Begin what was packed before, if there is room for it; None where there is none."""
        if not self._room.take_now():
            return None
        loop = asyncio.get_running_loop()
        return self._begun(order, None if order.enqueue_timeout is None else loop.time() + order.enqueue_timeout)

    def _begun(self, order: Order, deadline: float | None) -> Call:
        """Begin a call that has its room."""
        if not self._open:
            self._room.release()
            raise RuntimeError("the client is not open: use it in `async with`")
        call = Call(next(self._numbers), order, deadline)
        call.answer.add_done_callback(self._over)
        self._dispatch(call)
        if order.kind is Kind.POST and not call.answer.done():
            self._posts.add(call.answer)
            call.answer.add_done_callback(_tell)
        return call

    def _over(self, answer: asyncio.Future[Any]) -> None:
        self._room.release()
        self._posts.discard(answer)
        if not answer.cancelled():
            answer.exception()  # of one that wants no answer, nobody else looks at it

    async def stream(
        self,
        path: str,
        data: Iterable[Any] | AsyncIterable[Any],
        *,
        return_x: bool = False,
        return_exceptions: bool = False,
        enqueue_timeout: float | None = 60.0,
        response_timeout: float | None = 60.0,
        concurrency: int = _IN_PROGRESS,
    ) -> AsyncGenerator[Any, None]:
        """Answers to many requests of one path, in their order, as they are read.

        Args:
            path: of the application.
            data: one request each. Read no further ahead than ``concurrency``; what it raises ends the stream, after
                the answers to what came before.
            return_x: give ``(x, answer)``.
            return_exceptions: give a request's exception in the place of its answer; else it ends the stream.
            enqueue_timeout: of each, as in :meth:`request`.
            response_timeout: of each.
            concurrency: how many are in progress, or wait for being read.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency={concurrency}: at least 1 request has to be in progress")
        if response_timeout == 0:
            raise ValueError("response_timeout=0 wants no answers, and a stream is of answers")
        ask = partial(self._one, path, enqueue_timeout, response_timeout)
        async with aclosing(answers(ask, data, concurrency, pairs=return_x, kept=return_exceptions)) as found:
            async for answer in found:
                yield answer

    async def _one(self, path: str, enqueue_timeout: float | None, response_timeout: float | None, x: object) -> Any:  # noqa: ANN401 - as request()
        return await self.request(path, x, enqueue_timeout=enqueue_timeout, response_timeout=response_timeout)

    # --- connections

    def _dispatch(self, call: Call) -> None:
        """Give a call to the connection with the fewest, or have it wait for one."""
        if self._failure is not None:
            call.end()
            call.fail(self._failure)
            return
        if self._connections:
            min(self._connections, key=_load).take(call)
            return
        call.forget = self._forget
        self._waiting.append(call)

    def _forget(self, call: Call) -> None:
        with suppress(ValueError):
            self._waiting.remove(call)

    def _fail_waiting(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.end()
            call.fail(error)

    def _orphaned(self, connection: Connection, calls: list[Call], refusal: Exception | None) -> None:
        """A connection takes no more, and these had not begun."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._leaving.add(connection)
        if connection.channel.closed.done():
            self._leaving.discard(connection)
        if refusal is not None:
            self._failure = refusal
        for call in calls:
            self._dispatch(call)

    async def _keep(self, first: asyncio.Future[None]) -> None:
        """Keep one connection; there is another when it ends."""
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY / 2
        while True:
            try:
                connection = await self._connected()
            except Exception as error:  # noqa: BLE001 - told to whoever waits for a connection
                if not first.done():
                    first.set_exception(error)
                    return
                self._fail_waiting(error)
                if not isinstance(error, NotServedError):  # it would be the same the next time
                    self._failure = error
                    return
                continue
            self._connections.append(connection)
            if not first.done():
                first.set_result(None)
            while self._waiting and self._connections:
                self._dispatch(self._waiting.popleft())
            began = loop.time()
            await connection.ended
            if self._failure is not None:
                return
            # One that lets us in and at once out again is not to be asked without a pause.
            delay = min(2 * delay, _LONGEST_DELAY) if loop.time() - began < _LONGEST_DELAY else _FIRST_DELAY
            await asyncio.sleep(delay)

    async def _connected(self) -> Connection:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        delay = _FIRST_DELAY
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._connect()
            except ssl.SSLCertVerificationError as error:
                raise ProtocolError(f"the certificate of {self._address} is not trusted: {error}") from error
            except (OSError, TimeoutError) as error:
                if loop.time() + delay >= deadline:
                    why = str(error) or type(error).__name__
                    raise NotServedError(
                        f"no server at {self._address} within {self._timeout:g} s (connection_timeout): {why}"
                    ) from error
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[Connection] = loop.create_future()
        connection = Connection(
            ready,
            self._orphaned,
            token=self._token,
            max_bytes=self._max_bytes,
            stall_seconds=self._stall_seconds,
        )
        where = self._address
        try:
            if where.path:
                await loop.create_unix_connection(lambda: connection.channel, where.path)
            else:
                await loop.create_connection(lambda: connection.channel, where.host, where.port, ssl=self._tls)
            return await ready
        except BaseException:
            ready.cancel()
            connection.channel.abort()
            raise


def _tell(answer: asyncio.Future[Any]) -> None:
    """Nobody waits for a request without an answer: the log is told where it was not sent."""
    error = None if answer.cancelled() else answer.exception()
    if error is not None:
        _log.error("a request that wants no answer was not sent: %s", error)


def _load(connection: Connection) -> int:
    return len(connection.calls)
