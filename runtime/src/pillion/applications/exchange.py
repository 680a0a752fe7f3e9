"""One HTTP request of an application, from its arrival to the end of the code that works for it.

The code runs in the task of the request. When the client leaves or the time is up, that task is cancelled: code on the
event loop gets ``asyncio.CancelledError`` where it waits, and may clean up. The client is answered at once all the
same, for code may take its time over that, or may be in a thread that nothing can interrupt. The place among the
requests that run is held for as long as code does.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from pillion.applications.context import CURRENT
from pillion.errors import ErrorCode, PillionError
from pillion.transport.http.answer import error_answer
from pillion.transport.http.errors import CLIENT_CLOSED_REQUEST, HTTP_STATUS, task_error_body

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.applications.served import Served
    from pillion.transport.http.departure import Departure

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Exchange"]

_log: Final = logging.getLogger("pillion.applications")
_INTERNAL: Final = "Internal error; the server's log has it under this id"
_CLEAN_UP: Final = 5.0
"""Seconds for code to end after it was cancelled. Then it is told again, and the log says so."""
_LINES: Final = (b"application/x-ndjson", b"application/jsonl", b"application/json-lines")


class Exchange:
    """See the module's docstring.

    Args:
        served: the application.
        scope: as the application is to see it.
        send: the ASGI channel, with compression where that is ours.
        identity: the request's id.
        timeout: seconds from now on; None: the request may take any time.
    """

    __slots__ = (
        "_cancels", "_complete", "_departure", "_held", "_late", "_media", "_overstay", "_plain", "_send", "_served",
        "_started", "_task", "_timeout", "_timer", "deadline", "loop", "nested", "over", "plane", "request_id", "scope",
        "sent", "status",
    )  # fmt: skip

    def __init__(self, served: Served, scope: Scope, send: Send, identity: str, timeout: float | None) -> None:
        self.scope = scope
        self.over = False
        """Whether nobody waits for the answer any more."""
        self.status = 0
        self.sent = 0
        """Bytes of the body."""
        self.loop = asyncio.get_running_loop()
        self.deadline = None if timeout is None else served.clock() + timeout
        self.plane = served.plane
        self.nested: set[concurrent.futures.Future[Any]] = set()
        """Calls of models that threads wait for."""
        self._served = served
        self._send = send
        self.request_id = identity
        self._timeout = timeout
        self._departure: Departure | None = scope.pop("pillion.departure", None)
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._overstay: asyncio.TimerHandle | None = None
        self._late: asyncio.Task[None] | None = None
        self._held: asyncio.Future[Any] | None = None
        self._cancels = 0
        self._started = self._complete = False
        self._media = b""
        self._plain = True

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Have the application answer; whatever it raises has been answered and told."""
        served, gate = self._served, self._served.gate
        loop = self.loop
        self._task = asyncio.current_task()
        if self._timeout is not None:
            self._timer = loop.call_later(self._timeout, self._expired)
        if self._departure is not None:
            self._departure.watchers.add(self._left)
        began = loop.time()
        entered = False
        mark = CURRENT.set(self)
        try:
            if not gate.try_enter():
                await gate.enter(None)
            entered = True
            await app(self.scope, receive, self.send)
            self._require_answer()
        except asyncio.CancelledError:
            if not self._cancels:
                raise  # the server's, which cuts what is left
        except PillionError as error:
            await self._fail(error)
        except Exception as error:  # noqa: BLE001 - the boundary: the client is told that it failed
            _log.error(
                "application %s failed: %s", served.name, str(error) or type(error).__name__,
                exc_info=error, extra={"request_id": self.request_id, "application": served.name},
            )  # fmt: skip
            await self._fail(PillionError(ErrorCode.INTERNAL, _INTERNAL))
        finally:
            CURRENT.reset(mark)
            self._done()
            for _ in range(self._cancels if self._task is not None else 0):
                self._task.uncancel()  # type: ignore[union-attr]  # asked above
            if entered:
                gate.rate.add(loop.time() - began)
                self._leave()
            if self._late is not None:
                await self._late

    def _require_answer(self) -> None:
        if not self._complete and not self.over:
            raise RuntimeError("it returned without a complete answer")

    def _leave(self) -> None:
        """Give the place back, when a thread that works on has ended, too."""
        held = self._held
        if held is None or held.done():
            self._served.gate.leave()
        else:
            held.add_done_callback(self._thread_ended)

    def _thread_ended(self, thread: asyncio.Future[Any]) -> None:
        self._served.gate.leave()
        failure = None if thread.cancelled() else thread.exception()
        if failure is not None and not isinstance(failure, asyncio.CancelledError):  # as calls of models end with us
            _log.error(
                "application %s failed after its request had ended", self._served.name,
                exc_info=failure, extra={"request_id": self.request_id, "application": self._served.name},
            )  # fmt: skip

    def hold(self, thread: asyncio.Future[Any]) -> None:
        """A thread works for the request, which may go on when nobody waits for it."""
        self._held = thread

    # --- what the application sends

    async def send(self, message: Message) -> None:
        """The application's ASGI channel. What it sends when nobody waits any more is dropped."""
        if self.over:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            self._started = True
            message = {**message, "headers": self._head(message.get("headers", ()))}
        elif kind == "http.response.body":
            self.sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._complete = True  # what runs from here on is background work, which nobody's leaving ends
                self._done()
        await self._send(message)

    def _head(self, given: Any) -> list[tuple[bytes, bytes]]:  # noqa: ANN401 - any iterable of pairs
        headers = list(given)
        known = False
        for name, value in headers:
            if name == b"x-request-id":
                known = True
            elif name == b"content-type":
                self._media = value.partition(b";")[0].strip().lower()
            elif name == b"content-encoding":
                self._plain = False
        if not known:
            headers.append((b"x-request-id", self.request_id.encode()))
        return headers

    def _done(self) -> None:
        """Nothing ends the request from outside any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._overstay is not None:
            self._overstay.cancel()
            self._overstay = None
        if self._departure is not None:
            self._departure.watchers.discard(self._left)

    # --- what ends it from outside

    def _left(self) -> None:
        """The client has left."""
        if self.over or self._complete:
            return
        self.over = True
        self.status = CLIENT_CLOSED_REQUEST
        self._cancel()

    def _expired(self) -> None:
        """The time is up."""
        self._timer = None
        if self.over or self._complete:
            return
        error = PillionError(ErrorCode.DEADLINE_EXCEEDED, f"the request took longer than {self._timeout:g} s")
        self._late = asyncio.get_running_loop().create_task(self._fail(error))
        self.over = True
        self._cancel()

    def stop(self) -> None:
        """The server is about to cut what is left: say so, where a silence would look like an end."""
        if self.over or self._complete:
            return
        error = PillionError(ErrorCode.DRAINING, "the server stops")
        self._late = asyncio.get_running_loop().create_task(self._fail(error))
        self.over = True
        self._cancel()

    def _cancel(self) -> None:
        if self._task is None:
            return
        self._cancels += 1
        self._task.cancel()
        for call in list(self.nested):
            call.cancel()
        self._overstay = asyncio.get_running_loop().call_later(_CLEAN_UP, self._overstayed)

    def _overstayed(self) -> None:
        _log.warning(
            "application %s: code runs on %g s after its request has ended; it is cancelled again",
            self._served.name, _CLEAN_UP * self._cancels,
            extra={"request_id": self.request_id, "application": self._served.name},
        )  # fmt: skip
        self._cancel()

    # --- failing

    async def _fail(self, error: PillionError) -> None:
        """Tell the client: by an answer, or in the stream that has begun; never by an end that looks like one."""
        if self._complete or (self.over and self._late is None):
            return
        self.over = self._complete = True
        if not self._started:
            answer = error_answer(error, self.request_id)
            self.status, self.sent = answer.status, answer.size
            headers = [
                (b"content-type", answer.content_type),
                (b"content-length", b"%d" % answer.size),
                (b"x-request-id", self.request_id.encode()),
                *answer.headers,
            ]
            await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": answer.body})
            return
        self.status = HTTP_STATUS[error.code]
        mark = self._mark(error)
        if mark:
            await self._send({"type": "http.response.body", "body": mark, "more_body": False})
        elif self._departure is not None:
            self._departure.cut()

    def _mark(self, error: PillionError) -> bytes:
        """What ends a stream of events or lines; nothing where the body's form has no place for it."""
        if not self._plain:
            return b""
        document = task_error_body(error, self.request_id)
        if self._media == b"text/event-stream":
            return b"event: error\ndata: %b\n\n" % document
        if self._media in _LINES:
            return orjson.dumps({"error": str(error), "code": error.code.value, "id": self.request_id}) + b"\n"
        return b""
