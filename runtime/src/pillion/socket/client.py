"""The client for programs without an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from pillion.loop_beside import LoopBeside
from pillion.ordered_answers import plain_answers
from pillion.socket.aio import AsyncSocketClient
from pillion.socket.application import NOTHING
from pillion.socket.calls import ordered
from pillion.socket.frames import Kind

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Callable, Iterable, Iterator

    from pillion.socket.calls import Order

__all__ = ["SocketClient"]

_IN_PROGRESS = 64
_CLOSED = "the client was closed"


class SocketClient:
    """As :class:`~pillion.socket.AsyncSocketClient`, for plain code; any number of threads may share one::

        with SocketClient(path="/run/app.sock") as client:
            client.request("/double", 2.0)

    Its connections live in a thread of its own. The arguments are those of the other.
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
        self._client = AsyncSocketClient(
            path=path,
            host=host,
            port=port,
            num_connections=num_connections,
            connection_timeout=connection_timeout,
            backlog=backlog,
            tls=tls,
            token=token,
            max_bytes=max_bytes,
            stall_seconds=stall_seconds,
        )
        self._lock = threading.Lock()
        """Nothing is asked for any more once the client has begun to end, or nobody would answer it."""
        self._beside: LoopBeside | None = None
        self._asked: deque[tuple[Order, concurrent.futures.Future[Any]]] = deque()
        self._woken = False

    # --- life

    def __enter__(self) -> Self:
        if self._beside is not None:
            raise RuntimeError("the client is open already")
        self._woken = False
        self._beside = LoopBeside("pillion-socket")
        try:
            self._beside.run(self._client.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._beside is None:
            raise RuntimeError("the client is not open: use it in `with`")
        try:
            self._beside.run(self._client.__aexit__())
        finally:
            self._end()

    def _end(self) -> None:
        with self._lock:
            beside, self._beside = self._beside, None
        if beside is None:
            return
        beside.stop()
        while self._asked:  # by threads that came before, and that the loop has not come to
            _, answer = self._asked.popleft()
            if answer.set_running_or_notify_cancel():
                answer.set_exception(RuntimeError(_CLOSED))

    def _ask(self, order: Order) -> concurrent.futures.Future[Any]:
        """Begin a request: where there is room without a task of its own, which takes half of the time."""
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            if self._beside is None:
                raise RuntimeError("the client is not open: use it in `with`")
            self._asked.append((order, answer))
            if not self._woken:  # one that is on its way to them takes this one, too
                self._woken = True
                self._beside.loop.call_soon_threadsafe(self._begin_asked)
        return answer

    def _begin_asked(self) -> None:
        """Begin what threads have asked for. On the event loop."""
        self._woken = False
        while self._asked:
            order, answer = self._asked.popleft()
            if not answer.cancelled():
                self._begin_one(order, answer)

    def _begin_one(self, order: Order, answer: concurrent.futures.Future[Any]) -> None:
        try:
            call = self._client.ask_now(order)
        except RuntimeError as error:  # it was closed meanwhile
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)
            return
        if call is None:
            task = asyncio.create_task(self._client.asked(order))
            _connect(task, answer, task.cancel)
        elif order.kind is Kind.POST and not call.answer.done():
            if answer.set_running_or_notify_cancel():
                answer.set_result(None)
        else:
            _connect(call.answer, answer, call.give_up)

    # --- requests

    def request(
        self,
        path: str,
        data: object = NOTHING,
        *,
        enqueue_timeout: float | None = None,
        response_timeout: float | None = None,
    ) -> Any:  # noqa: ANN401 - what the function of the path gives
        """See :meth:`AsyncSocketClient.request <pillion.socket.AsyncSocketClient.request>`."""
        answer = self._ask(ordered(path, data, enqueue_timeout, response_timeout))
        try:
            return answer.result()
        except BaseException:
            answer.cancel()  # where it was the waiting that was interrupted
            raise

    def stream(
        self,
        path: str,
        data: Iterable[Any],
        *,
        return_x: bool = False,
        return_exceptions: bool = False,
        enqueue_timeout: float | None = 60.0,
        response_timeout: float | None = 60.0,
        concurrency: int = _IN_PROGRESS,
    ) -> Iterator[Any]:
        """See :meth:`AsyncSocketClient.stream <pillion.socket.AsyncSocketClient.stream>`."""
        if concurrency < 1:
            raise ValueError(f"concurrency={concurrency}: at least 1 request has to be in progress")
        if response_timeout == 0:
            raise ValueError("response_timeout=0 wants no answers, and a stream is of answers")

        def begin(x: object) -> concurrent.futures.Future[Any]:
            return self._ask(ordered(path, x, enqueue_timeout, response_timeout))

        yield from plain_answers(begin, data, concurrency, pairs=return_x, kept=return_exceptions)


def _connect(asked: asyncio.Future[Any], answer: concurrent.futures.Future[Any], give_up: Callable[[], object]) -> None:
    """Tell the thread that waits, and give up what it does not wait for any more. On the event loop."""
    loop = asked.get_loop()

    def told(_: asyncio.Future[Any]) -> None:
        if answer.set_running_or_notify_cancel():
            # Where it is not the thread that gave up, the client was closed while the request waited for its turn.
            error = RuntimeError(_CLOSED) if asked.cancelled() else asked.exception()
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(asked.result())

    def left(_: concurrent.futures.Future[Any]) -> None:
        if answer.cancelled():
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(give_up)

    asked.add_done_callback(told)
    answer.add_done_callback(left)
