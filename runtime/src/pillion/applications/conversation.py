"""One WebSocket of an application: an idle limit instead of a deadline, and an end that says why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.context import CURRENT, Endings
from pillion.tracing.context import TRACEPARENT, header_of
from pillion.tracing.nested import trace_of_header

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.dataplane.plane import DataPlane

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Conversation"]

_log: Final = logging.getLogger("pillion.applications")
GOING_AWAY: Final = 1001
FAILED: Final = 1011
RESTARTING: Final = 1012
_CLEAN_UP: Final = 5.0
"""Seconds for code to end after its connection has; then it is cancelled."""


class Conversation(Endings):
    """See the module's docstring. RFC 6455, section 7.4.1 has the codes.

    Args:
        name: of the application.
        scope: as it is to see it.
        receive: the ASGI channel.
        send: the other.
        identity: the request's id.
        idle: seconds without a message in either direction after which it is ended.
        plane: where the models of the server are.
    """

    path: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        identity: str,
        idle: float,
        plane: DataPlane | None = None,
    ) -> None:
        super().__init__()
        scope.pop("pillion.departure", None)
        self.over = False
        """Whether the connection has ended."""
        self.status = 101
        self.sent = 0
        self.loop = asyncio.get_running_loop()
        self.deadline: float | None = None
        self.plane = plane
        self.nested: set[concurrent.futures.Future[Any]] = set()
        self._name = name
        self.scope = scope
        self._receive = receive
        self._send = send
        self.request_id = identity
        self.trace = trace_of_header(header_of(scope, TRACEPARENT))
        self._idle = idle
        self._accepted = False
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._ending: asyncio.Future[Message] | None = None
        """Filled with what the application is to be told when we end it."""
        self._closing: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._reading: asyncio.Future[Message] | None = None
        """A message that is waited for. It outlives who waits: what came as its wait was cancelled is the next's."""

    async def run(self, app: ASGIApp) -> None:
        """Have the application talk; what it raises is told in the log and by code 1011."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._ending = loop.create_future()
        self._last = loop.time()
        self._timer = loop.call_later(self._idle, self._look)
        mark = CURRENT.set(self)
        try:
            await app(self.scope, self._take, self._give)
        except asyncio.CancelledError:
            if not self._cancelled or self._task is None:
                raise
            self._task.uncancel()
        except Exception as error:  # noqa: BLE001 - the boundary
            kind = type(error).__name__
            if kind == "WebSocketDisconnect" or (self.over and kind == "ClientDisconnected"):
                return  # the client left, and the handler let it be known
            _log.error(
                "application %s failed in a WebSocket: %s", self._name, str(error) or kind,
                exc_info=error, extra={"request_id": self.request_id, "application": self._name},
            )  # fmt: skip
            if not self._accepted:
                self.status = 500
            with contextlib.suppress(Exception):
                await self._send({"type": "websocket.close", "code": FAILED, "reason": "the application failed"})
        finally:
            self.over = True
            if self._reading is not None:
                self._reading.cancel()
            CURRENT.reset(mark)
            self.end_all()
            for call in list(self.nested):
                call.cancel()
            self._timer.cancel()
            if self._closing:
                await asyncio.wait(self._closing, timeout=1.0)

    async def _take(self) -> Message:
        """The application's ``receive``."""
        ending = self._ending
        if ending is None or ending.done():
            return ending.result() if ending is not None else {"type": "websocket.disconnect", "code": FAILED}
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._receive())
        reading = self._reading
        await asyncio.wait((reading, ending), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            return ending.result()
        self._reading = None
        message = reading.result()
        self._last = asyncio.get_running_loop().time()
        if message["type"] == "websocket.disconnect":
            self.over = True
        return message

    async def _give(self, message: Message) -> None:
        """The application's ``send``."""
        if self._ending is not None and self._ending.done():
            return
        kind = message["type"]
        if kind == "websocket.accept":
            self._accepted = True
            headers = list(message.get("headers", ()))
            if not any(name.lower() == b"x-request-id" for name, _ in headers):
                headers.append((b"x-request-id", self.request_id.encode()))
            message = {**message, "headers": headers}
        elif kind == "websocket.send":
            data = message.get("bytes")
            self.sent += len(data) if data is not None else _bytes_of(message.get("text") or "")
        elif kind == "websocket.close" and not self._accepted:
            self.status = 403
        elif kind == "websocket.http.response.start":
            self.status = message["status"]
        self._last = asyncio.get_running_loop().time()
        await self._send(message)

    # --- what ends it from outside

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._last + self._idle - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._look)
        else:
            self.end(GOING_AWAY, f"idle for {self._idle:g} s")

    def end(self, code: int, reason: str) -> None:
        """Close the connection; the application is told by a disconnect with that code."""
        ending = self._ending
        if ending is None or ending.done():
            return
        self.over = True
        ending.set_result({"type": "websocket.disconnect", "code": code, "reason": reason})
        loop = asyncio.get_running_loop()
        closing = loop.create_task(self._close(code, reason))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(_CLEAN_UP, self._overstayed)

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(Exception):  # it may have gone by itself
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def _overstayed(self) -> None:
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
