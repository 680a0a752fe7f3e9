"""An application's lifespan: begun before the first request, ended after the last."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Lifespan", "LifespanError"]

_log: Final = logging.getLogger("pillion.applications")


class LifespanError(Exception):
    """The application said that it cannot start; the cause is what it raised, where it is known."""


class Lifespan:
    """Of one application, in a task of its own: context managers have to be left where they were entered.

    Args:
        name: of the application.
        app: it.
        state: filled by it; each request gets a copy.
    """

    def __init__(self, name: str, app: ASGIApp, state: dict[str, Any]) -> None:
        self._name = name
        self._app = app
        self._state = state
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._started: asyncio.Future[str] | None = None
        self._stopped: asyncio.Future[str] | None = None
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Return when the application has started, or has no lifespan.

        Raises:
            LifespanError: it says that it cannot.
        """
        loop = asyncio.get_running_loop()
        self._started, self._stopped = loop.create_future(), loop.create_future()
        self._events.put_nowait({"type": "lifespan.startup"})
        self._task = loop.create_task(self._run())
        failure = await asyncio.shield(self._started)  # who gives up waiting does not say that it has started
        if not failure:
            return
        await asyncio.wait((self._task,), timeout=5.0)
        cause = None
        if self._task.done() and not self._task.cancelled():
            cause = self._task.exception()
        raise LifespanError(failure) from cause

    async def _run(self) -> None:
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        try:
            await self._app(scope, self._take, self._give)
        except BaseException as error:
            if self._started is not None and not self._started.done():
                # Who does not even look at the message knows no lifespan, as ASGI has it; the others have failed.
                self._started.set_result(f"{type(error).__name__}: {error}" if self._asked else "")
                if not self._asked:
                    return
            raise
        finally:
            for future in (self._started, self._stopped):
                if future is not None and not future.done():
                    future.set_result("")

    async def _take(self) -> Message:
        self._asked = True
        return await self._events.get()

    async def _give(self, message: Message) -> None:
        kind = message["type"]
        future = self._started if kind.startswith("lifespan.startup") else self._stopped
        if future is not None and not future.done():
            failed = kind.endswith(".failed")
            future.set_result((message.get("message") or "it gave no reason") if failed else "")

    async def end(self, seconds: float) -> None:
        """Have it end what it began; within so many seconds, or it is cut."""
        if self._task is None or self._stopped is None:
            return
        if not self._task.done() and (self._started is None or not self._started.done()):
            _log.warning("application %s: its lifespan had not started yet and is cut", self._name)
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1.0)
            return
        if not self._task.done():
            self._events.put_nowait({"type": "lifespan.shutdown"})
            await asyncio.wait((self._task,), timeout=seconds)
        if not self._task.done():
            _log.warning("application %s: its lifespan did not end within %g s and is cut", self._name, seconds)
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1.0)
        elif not self._task.cancelled() and self._task.exception() is not None:
            _log.error("application %s: its lifespan failed as it ended", self._name, exc_info=self._task.exception())
