"""What code that works for a request can ask about it: on the event loop, in threads and in worker processes."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future as ConcurrentFuture
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor
    from types import GeneratorType

    from pillion.dataplane.plane import DataPlane
    from pillion.tracing.nested import Trace

__all__ = ["CURRENT", "Endings", "Shared", "Thread", "Working", "cancelled", "current_endings"]

Thread = asyncio.Future[Any] | ConcurrentFuture[Any]
"""What a thread gives that works for somebody."""


class Working(Protocol):
    """A request that is being worked on."""

    @property
    def over(self) -> bool:
        """Whether nobody waits for its answer any more."""
        ...

    @property
    def request_id(self) -> str:
        """Its id."""
        ...

    @property
    def deadline(self) -> float | None:
        """When its time is up, on the monotonic clock; None: never."""
        ...

    @property
    def plane(self) -> DataPlane | None:
        """Where the models of the server are."""
        ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it is worked on."""
        ...

    @property
    def path(self) -> tuple[str, ...]:
        """The models whose code waits for what is worked on, the outermost first."""
        ...

    @property
    def trace(self) -> Trace | None:
        """Its place in a trace, where there is one."""
        ...

    @property
    def nested(self) -> set[concurrent.futures.Future[Any]]:
        """Calls that threads wait for, which end with it."""
        ...


CURRENT: ContextVar[Working | None] = ContextVar("pillion_request", default=None)


class Endings:
    """Work that knows its end: what is to be called then. Threads that go on belong to it. Event loop's thread only."""

    __slots__ = ("_closings", "_ended", "_endings", "_leaving", "_threads")

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._ended = self._leaving = False
        self._closings: dict[GeneratorType[Any, Any, Any], Callable[[], Thread]] | None = None
        self._endings: list[Callable[[], None]] | None = None
        self._threads: list[Thread] | None = None

    def at_end(self, call: Callable[[], None]) -> None:
        """Call it at the end; at once where that is past, as tasks outlive what they were begun for."""
        if self._ended:
            call()
        elif self._endings is None:
            self._endings = [call]
        else:
            self._endings.append(call)

    def hold(self, thread: Thread) -> None:
        """A thread works for it, which may go on when nobody waits for it; the end comes after that."""
        if self._ended:
            return
        self._threads = [*self._running(), thread]
        if self._leaving:  # of a task that outlives what it was begun for
            self._await(thread)

    def closes(self, items: GeneratorType[Any, Any, Any], threads: Executor) -> None:
        """Its items are taken in threads: what is left of it when nobody takes the next one is closed in one of them,
        so that its ``finally`` runs; the end comes after that.
        """
        if self._closings is None:
            self._closings = {}
        if items not in self._closings:
            self._closings[items] = partial(threads.submit, copy_context().run, items.close)

    @property
    def in_threads(self) -> bool:
        """Whether threads work for it now."""
        return bool(self._running())

    def _running(self) -> list[Thread]:
        return [] if self._threads is None else [thread for thread in self._threads if not thread.done()]

    def end_all(self) -> None:
        """The work has ended, but for its threads."""
        threads = self._threads = self._running() if self._threads is not None else None
        if not threads and self._closings is None:
            self._end()
            return
        self._leaving = True
        for thread in threads or ():
            self._await(thread)
        if not threads:
            self._close_items()

    def _close_items(self) -> None:
        """No thread works any more: close what they left open, then it is the end."""
        closings, self._closings = self._closings, None
        for items, close in (closings or {}).items():
            if items.gi_frame is not None:  # it has not come to its end
                with contextlib.suppress(RuntimeError):  # the threads have ended, as the server has
                    self.hold(close())
        if not self._threads:
            self._end()

    def _await(self, thread: Thread) -> None:
        ended = asyncio.wrap_future(thread, loop=self.loop) if isinstance(thread, ConcurrentFuture) else thread
        ended.add_done_callback(partial(self._thread_ended, thread))

    def _thread_ended(self, thread: Thread, ended: asyncio.Future[Any]) -> None:
        threads = self._threads or []
        if thread in threads:  # else it had ended when another came, which the end waits for
            threads.remove(thread)
        failure = None if ended.cancelled() else ended.exception()
        if failure is not None and not isinstance(failure, asyncio.CancelledError):  # as calls of models end with us
            self._failed_late(failure)
        if not threads:
            self._close_items()

    def _failed_late(self, failure: BaseException) -> None:
        """A thread has failed that nobody waited for any more."""

    def _end(self) -> None:
        self._ended = True
        endings, self._endings = self._endings, None
        for call in endings or ():
            call()


def current_endings() -> Endings | None:
    """What is being worked on, where it knows its end."""
    working: object = CURRENT.get()
    return working if isinstance(working, Endings) else None


class Shared(Endings):
    """Work that is not one request's: that of several, of none, or a test's.

    Args:
        plane: where the models of the server are.
        deadline: of the work, on the monotonic clock.
        request_id: of the request that it was begun for.
    """

    def __init__(self, plane: DataPlane | None, deadline: float | None = None, request_id: str = "") -> None:
        super().__init__()
        self.plane = plane
        self.deadline = deadline
        self.request_id = request_id
        self.over = False
        self.scope: Mapping[str, Any] | None = None
        self.path: tuple[str, ...] = ()
        self.trace: Trace | None = None
        self.loop = asyncio.get_running_loop()
        self.nested: set[concurrent.futures.Future[Any]] = set()


def cancelled() -> bool:
    """Whether nobody waits for the answer any more: the client has left, or the time is up.

    For plain functions, which nothing can interrupt: ask now and then, and return. ``async`` code gets
    ``asyncio.CancelledError`` instead. False outside of a request.
    """
    working = CURRENT.get()
    return working is not None and working.over
