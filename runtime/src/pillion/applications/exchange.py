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

from pillion.authoring.context import CURRENT, Endings
from pillion.errors import ErrorCode, PillionError
from pillion.tracing.context import TRACEPARENT, header_of
from pillion.tracing.nested import trace_of_header
from pillion.transport.http.answer import error_answer
from pillion.transport.http.errors import CLIENT_CLOSED_REQUEST, HTTP_STATUS, task_error_body

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from pillion.applications.served import Served
    from pillion.applications.streamed import Arrived
    from pillion.tracing.nested import Trace

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["Exchange"]

_log: Final = logging.getLogger("pillion.applications")
_INTERNAL: Final = "Internal error; the server's log has it under this id"
_CLEAN_UP: Final = 5.0
"""Seconds for code to end after it was cancelled. Then it is told again, and the log says so."""
_LINES: Final = (b"application/x-ndjson", b"application/jsonl", b"application/json-lines")


class Exchange(Endings):
    """See the module's docstring.

    Args:
        served: the application.
        request: what is asked of it.
        channel: ASGI's, with compression where that is ours.
        identity: the request's id.
        timeout: seconds from now on; None: the request may take any time.
    """

    __slots__ = (
        "_cancels", "_complete", "_departure", "_done", "_entered", "_headers", "_last", "_late", "_nested",
        "_overstay", "_quiet", "_served", "_started", "_timeout", "_timer", "_trace", "channel", "deadline", "loop",
        "made", "over", "plane", "request", "request_id", "sent", "status",
    )  # fmt: skip

    path: tuple[str, ...] = ()

    def __init__(
        self,
        served: Served,
        request: Arrived,
        channel: Send,
        identity: str,
        timeout: float | None,
    ) -> None:
        self._ended = self._leaving = self._entered = False
        self._closings = self._endings = self._threads = None
        self.request = request
        self.made: Scope | None = None
        """What the application sees of it, once that has been asked for."""
        self.over = False
        """Whether nobody waits for the answer any more."""
        self.status = 0
        self.sent = 0
        """Bytes of the body."""
        self.loop = asyncio.get_running_loop()
        self.deadline = None if timeout is None else served.clock() + timeout
        self.plane = served.plane
        self._nested: set[concurrent.futures.Future[Any]] | None = None
        self._served = served
        self.channel = channel
        self.request_id = identity
        self._trace: tuple[Trace | None] | None = None
        self._timeout = timeout
        self._departure = request.departure
        self._timer: asyncio.TimerHandle | None = None
        self._quiet: asyncio.TimerHandle | None = None
        """Until the answer begins, then until its next piece."""
        self._last = 0.0
        self._overstay: asyncio.TimerHandle | None = None
        self._late: asyncio.Task[None] | None = None
        self._cancels = 0
        self._started = self._complete = self._done = False
        self._headers: Sequence[tuple[bytes, bytes]] = ()

    @property
    def scope(self) -> Scope:
        """ASGI's, as the application is to see it."""
        if self.made is None:
            self.made = self._served.seen(self.request.scope(), self.request.root, self.request_id)
        return self.made

    @property
    def nested(self) -> set[concurrent.futures.Future[Any]]:
        """Calls of models that threads wait for."""
        if self._nested is None:
            self._nested = set()
        return self._nested

    @property
    def trace(self) -> Trace | None:
        """That of its caller, where there is one; looked at when somebody asks."""
        if self._trace is None:
            self._trace = (trace_of_header(header_of(self.scope, TRACEPARENT)),)
        return self._trace[0]

    async def run(self, work: Callable[[Exchange, Receive], Awaitable[None]], receive: Receive) -> None:
        """Have the application answer; whatever it raises has been answered and told."""
        gate = self._served.gate
        loop = self.loop
        self._begin_watch()
        began = 0.0
        entered = False
        mark = CURRENT.set(self)
        try:
            if not gate.try_enter():
                await gate.enter(None)
            entered = True
            began = loop.time()  # only now: who waits for a place does not make the others slower
            await work(self, receive)
            if not self._complete:
                self._require_answer()
        except asyncio.CancelledError as error:
            if not self._cancels:
                if self.request.task is None or self.request.task.cancelling():
                    raise  # the server's, which cuts what is left
                await self._failed(error)  # the code's own: it awaited what somebody has cancelled
        except PillionError as error:
            await self._fail(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary: the client is told that it failed
            await self._failed(error)
        finally:
            CURRENT.reset(mark)
            if not self._done:
                self._end_watch()
            for _ in range(self._cancels):
                self.request.task.uncancel()  # type: ignore[union-attr]  # what was cancelled is there
            if entered:
                gate.rate.add(loop.time() - began)
                self._leave()
            self.end_all()
            if self._late is not None:
                await self._late

    def _begin_watch(self) -> None:
        """From now on the time counts and the client's leaving."""
        served, loop = self._served, self.loop
        if self._departure is not None:
            self._departure.watchers.add(self)
        if self._timeout is not None:
            self._timer = loop.call_later(self._timeout, self._expired)
        if served.first_byte is not None:
            text = f"the answer did not begin within {served.first_byte:g} s (http.first_byte_timeout_seconds)"
            self._quiet = loop.call_later(served.first_byte, self._late_by, text)

    def _require_answer(self) -> None:
        if not self.over:
            raise RuntimeError("it returned without a complete answer")

    def _leave(self) -> None:
        """Give the place back; at the end where a thread may work on, but not for work behind an answer."""
        if self.over:
            self._entered = True
        else:
            self._served.gate.leave()

    def _close_items(self) -> None:
        """Close what was cut short; what is open at an end of its own is taken by a task that goes on."""
        if not self.over:
            self._closings = None
        super()._close_items()

    def _failed_late(self, failure: BaseException) -> None:
        _log.error(
            "application %s failed after its request had ended", self._served.name,
            exc_info=failure, extra={"request_id": self.request_id, "application": self._served.name},
        )  # fmt: skip

    def _end(self) -> None:
        """Give the place back, and what was taken until the end."""
        if self._entered:
            self._entered = False
            self._served.gate.leave()
        super()._end()

    # --- what the application sends

    def send(self, message: Message) -> Awaitable[None]:
        """The application's ASGI channel. What it sends when nobody waits any more is dropped."""
        if self.over:
            return _dropped()
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            self._started = True
            self._headers = headers = list(message.get("headers", ()))
            for name, _ in headers:
                if name == b"x-request-id":
                    break
            else:
                headers.append((b"x-request-id", self.request_id.encode()))
            message = {**message, "headers": headers}
            if self._quiet is not None or self._served.idle is not None:
                self._began_to_answer()
        elif kind == "http.response.body":
            self.sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._complete = True  # what runs from here on is background work, which nobody's leaving ends
                self._end_watch()
            if self._quiet is not None:
                self._last = self.loop.time()
        return self.channel(message)

    def whole(self, status: int, size: int) -> None:
        """An answer that is sent another way, in one piece."""
        self.status, self.sent = status, size
        self._started = self._complete = True
        self._end_watch()

    def _end_watch(self) -> None:
        """Nothing ends the request from outside any more."""
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if self._overstay is not None:
            self._overstay.cancel()
            self._overstay = None
        if self._departure is not None:
            self._departure.watchers.discard(self)

    # --- what ends it from outside

    def left(self) -> None:
        """The client has left."""
        if self.over or self._complete:
            return
        self.over = True
        self.status = CLIENT_CLOSED_REQUEST
        self._cancel()

    def _expired(self) -> None:
        """The time is up."""
        self._timer = None
        self._late_by(f"the request took longer than {self._timeout:g} s")

    def _late_by(self, text: str) -> None:
        """End it, by that error."""
        if self.over or self._complete:
            return
        self._late = asyncio.get_running_loop().create_task(self._fail(PillionError(ErrorCode.DEADLINE_EXCEEDED, text)))
        self.over = True
        self._cancel()

    def _began_to_answer(self) -> None:
        """The first byte is there; from now on each piece has a time of its own, where one is set."""
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        idle = self._served.idle
        if idle is not None:
            self._last = self.loop.time()
            self._quiet = self.loop.call_later(idle, self._look, idle)

    def _look(self, idle: float) -> None:
        left = self._last + idle - self.loop.time()
        if left > 0:
            self._quiet = self.loop.call_later(left, self._look, idle)
        else:
            self._late_by(f"nothing was sent for {idle:g} s (http.stream_idle_seconds)")

    def stop(self) -> None:
        """The server is about to cut what is left: say so, where a silence would look like an end."""
        if self.over or self._complete:
            return
        error = PillionError(ErrorCode.DRAINING, "the server stops")
        self._late = asyncio.get_running_loop().create_task(self._fail(error))
        self.over = True
        self._cancel()

    def _cancel(self) -> None:
        if self.request.task is None:
            return
        self._cancels += 1
        self.request.task.cancel()
        for call in list(self._nested or ()):
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

    async def _failed(self, error: BaseException) -> None:
        """It is the application's fault: the log has why, the client an id."""
        name = self._served.name
        _log.error(
            "application %s failed: %s", name, str(error) or type(error).__name__,
            exc_info=error, extra={"request_id": self.request_id, "application": name},
        )  # fmt: skip
        await self._fail(PillionError(ErrorCode.INTERNAL, _INTERNAL))

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
            await self.channel({"type": "http.response.start", "status": answer.status, "headers": headers})
            await self.channel({"type": "http.response.body", "body": answer.body})
            return
        self.status = HTTP_STATUS[error.code]
        mark = self._mark(error)
        if mark:
            await self.channel({"type": "http.response.body", "body": mark, "more_body": False})
        else:
            self.request.cut()

    def _mark(self, error: PillionError) -> bytes:
        """What ends a stream of events or lines; nothing where the body's form has no place for it."""
        fields = dict(self._headers)
        if b"content-encoding" in fields:
            return b""
        media = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        document = task_error_body(error, self.request_id)
        if media == b"text/event-stream":
            return b"event: error\ndata: %b\n\n" % document
        if media in _LINES:
            return orjson.dumps({"error": str(error), "code": error.code.value, "id": self.request_id}) + b"\n"
        return b""


async def _dropped() -> None:
    """Nobody waits for what was sent."""
