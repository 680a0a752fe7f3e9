"""Threads in which plain functions work for requests: ours, the event loop's, and those of Starlette and FastAPI.

Nothing can interrupt a thread. Its request may be over long before it is, and holds its place for as long.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread

from pillion.applications.exchange import Exchange
from pillion.authoring.context import CURRENT, current_endings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

__all__ = ["FollowedThreads", "Threads", "hold_places_of_threads"]

_MARK: Final = "__pillion_holds_places__"


class Threads(Executor):
    """As ``concurrent.futures.ThreadPoolExecutor``, of threads that the end of the process does not wait for.

    Args:
        most: threads; each is begun when it is needed.
        name: they are called so, with a number.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._begun = 0
        self._idle = 0
        self._over = False

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:  # noqa: ANN401 - the call's
        """Call it in a thread.

        Raises:
            RuntimeError: they have been shut down.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._over:
                raise RuntimeError("the application has ended: its threads take no more calls")
            if self._idle:
                self._idle -= 1
            elif self._begun < self._most:
                threading.Thread(target=self._work, name=f"{self._name}-{self._begun}", daemon=True).start()
                self._begun += 1
            else:
                self._idle -= 1  # who is next to be idle is expected already
            self._waiting.put((future, functools.partial(call, *arguments, **named)))
        return future

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - it is the caller's
                    future.set_exception(error)
            del item, future, call  # or an idle thread would keep what it computed last
            with self._lock:
                self._idle += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001 - as the class says
        """Take no more calls, and end the threads when theirs have. Nothing is waited for, whatever ``wait`` is."""
        del wait
        with self._lock:
            self._over = True
            while cancel_futures and not self._waiting.empty():
                item = self._waiting.get()
                if item is not None:
                    item[0].cancel()
            for _ in range(self._begun):
                self._waiting.put(None)


_CLOSING: Final = Threads(40, "pillion-closing")
"""Where generators are closed that Starlette took items from."""
_STREAMS: Final = "starlette.concurrency"


class _Following:
    """A call in a thread that is not ours, whose end is told when its request does not wait for it any more."""

    __slots__ = ("_begun", "_call", "_ended", "_lock", "_told")

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._begun = False
        self._ended = False
        self._told: asyncio.Future[None] | None = None
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401 - the function's own
        with self._lock:
            if self._told is not None:
                return None  # its request had ended before it began
            self._begun = True
        try:
            return self._call(*arguments)
        finally:
            self._over()

    def _over(self) -> None:
        with self._lock:
            self._ended = True
            told = self._told
        if told is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                told.get_loop().call_soon_threadsafe(_end, told)

    def left(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None] | None:
        """Nobody waits any more: what ends with the call; None where it has ended or will never begin."""
        told: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._told = told
            return told if self._begun and not self._ended else None


class FollowedThreads(ThreadPoolExecutor):
    """An event loop's own threads (``asyncio.to_thread``), each followed by the request that it works for.

    What a request has taken until its end, such as a multiplexed model, stays until they have ended, too.
    """

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:  # noqa: ANN401 - the call's
        """Call it in a thread."""
        future = super().submit(fn, *arguments, **named)
        working = current_endings()
        if working is not None:
            working.hold(future)
        return future


def _end(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)


def hold_places_of_threads() -> None:
    """Have requests hold their places while a thread of Starlette's or FastAPI's works for them.

    These are anyio's, which lets go of a thread when its task is cancelled and tells nobody when the thread ends. All
    calls go through ``anyio.to_thread.run_sync``, so that is where they are followed; calls that are made for no
    request of an application are not touched.
    """
    original: Callable[..., Awaitable[Any]] = anyio.to_thread.run_sync
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    async def run_sync(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - anyio's
        working = CURRENT.get()
        if not isinstance(working, Exchange):
            return await original(call, *arguments, **named)
        if arguments and isinstance(arguments[0], GeneratorType) and getattr(call, "__module__", None) == _STREAMS:
            working.closes(arguments[0], _CLOSING)  # Starlette leaves it to the collector of garbage
        following = _Following(call)
        try:
            return await original(following, *arguments, **named)
        except BaseException:
            thread = following.left(working.loop)
            if thread is not None:
                working.hold(thread)
            raise

    setattr(run_sync, _MARK, True)
    anyio.to_thread.run_sync = run_sync  # type: ignore[assignment]  # it hands on whatever it is given
