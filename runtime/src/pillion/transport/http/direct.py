"""Short requests answered in the turn of the loop that received them, without a task, a cycle or a message.

What ASGI asks of a server for each request (a task, an event, a scope, two messages) costs more than decoding, a
small model and encoding together. A request that has arrived whole needs none of it when its answer can be computed
without waiting. So such requests are held back until their last byte, and then, together with all others that came in
the same turn (see :mod:`pillion.transport.http.turn`), offered to the application as plain values. Three things can
come back: the answer, which is written at once; a call that has begun and waits, which is asked again at the end of the
turn and becomes an ASGI application if it still waits; or nothing, and the request goes the ordinary way as if nothing
had been tried.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast, runtime_checkable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from pillion.transport.http.engine import IDLE, HttpProtocol
from pillion.transport.http.handled import Handled, HandlerApplication

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from uvicorn._types import ASGI3Application
    from uvicorn.config import Config

    from pillion.transport.http.engine import EngineState
    from pillion.transport.http.handled import DirectHandler
    from pillion.transport.http.refusals import Refusal

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = [
    "DirectAnswer",
    "DirectApplication",
    "DirectCall",
    "DirectHttpProtocol",
]

_LONGEST_BODY: Final = 64 * 1024
"""Longer bodies do not arrive in one read, and their decoding should not hold up the bytes of other connections."""
_LONGEST_JOINED: Final = 64 * 1024
"""Copying a longer one behind its head costs more than a second call of the kernel."""


class DirectAnswer(NamedTuple):
    """A whole answer. ``head`` are header lines in lower case, each ended by CRLF, the content length among them."""

    status: int
    head: bytes
    body: bytes


class DirectCall(Protocol):
    """A request that has begun and waits."""

    def finish(self) -> DirectAnswer | Application:
        """The answer if it is there now, else what goes on waiting for it."""
        ...


@runtime_checkable
class DirectApplication(Protocol):
    """An ASGI application that can also take a request as values."""

    def knows(self, target: bytes) -> bool:
        """Whether a request with that target may be begun: the others need not be held back to find out."""
        ...

    def gather(self, requests: int) -> None:
        """So many requests are about to begin in a row."""
        ...

    def flush(self) -> None:
        """All of them have begun: compute what they wait for together."""
        ...

    def begin(
        self,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        client: Callable[[], str] | None = None,
    ) -> DirectAnswer | DirectCall | None:
        """Answer a POST request, begin it, or leave it alone.

        Args:
            target: the request target as it was sent.
            headers: names in lower case.
            body: all of it.
            client: tells who sent it, as ``address:port``.
        """
        ...


def _nothing(_: bytes) -> bool:
    return False


class DirectHttpProtocol(HttpProtocol):
    """A connection of a server whose application may be a :class:`DirectApplication`."""

    def __init__(self, config: Config, state: EngineState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, state, loop)
        application: object = config.app
        self._direct = None
        self._knows: Callable[[bytes], bool] = _nothing
        if isinstance(application, DirectApplication):
            self._direct = application.begin
            self._knows = application.knows
            state.turn.gatherer = application
        self._handler_of: Callable[[bytes], DirectHandler | None] | None = None
        if isinstance(application, HandlerApplication):
            self._handler_of = application.handler
        self._handler: DirectHandler | None = None
        """Whose request is being received or answered, the direct way."""
        self._working: Handled | None = None
        """What a handler works for, without a cycle of ASGI so far."""
        self._answering: RequestResponseCycle | None = None
        """The cycle that has its turn. uvicorn tells only the one that came last of the client's leaving."""
        self._held: list[bytes] | None = None
        self._waits = False
        """Whether the request held back is complete and waits for the end of the turn."""
        self._keeps = True
        self._outcome: DirectAnswer | DirectCall | None = None
        self._begun: Application | None = None
        self._idle_since = 0.0
        self._sender = self._client_address  # bound once, not for each request

    def _client_address(self) -> str:
        return f"{self.client[0]}:{self.client[1]}" if self.client else ""

    def _incomplete(self, received: int) -> None:
        """As ever; a request that is not complete when all that was read is parsed goes the ordinary way."""
        if self._held is not None and not self._waits:
            self._release()
        super()._incomplete(received)

    def on_message_begin(self) -> None:
        """A request starts. What only the ordinary way needs is made when it is taken."""
        if self._waits:
            self._answer_now()
        elif self._working is not None:
            self._working.cycle()  # what comes next on the connection has to wait, which cycles know how to
        self._begin_head()
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def _ordinary(self) -> None:
        """Start the application in a task, with the scope that it expects."""
        self._unset_keepalive_if_required()
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super()._begin_request()

    def _begin_request(self) -> None:
        if self._is_short():
            method = self.parser.get_method()
            if self._handler_of is not None and method != b"HEAD":
                self._handler = self._handler_of(self.url)
                if self._handler is not None:
                    self._held = []
                    return
            # One in each read: a client that pipelines hundreds must not keep the others waiting.
            if self._first and self._content_length and method == b"POST" and self._knows(self.url):
                self._first = False
                self._held = []
                return
        self._ordinary()

    def _is_short(self) -> bool:
        """Whether its body comes soon and its answer can be sent when it is there. Nothing is before it by now."""
        cycle: RequestResponseCycle | None = self.cycle
        return not (
            self._chunked
            or self._content_length > _LONGEST_BODY
            or self.expect_100_continue
            or self.flow.write_paused
            or (cycle is not None and not cycle.response_complete)
            or self.parser.should_upgrade()
            or self.parser.get_http_version() != "1.1"
        )

    def on_body(self, body: bytes) -> None:
        """Keep the body of a request that is held back."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        """Have a request that was held back answered at the end of the turn."""
        if self._held is None:
            super().on_message_complete()
            return
        self._phase, self._since = IDLE, 0.0
        # Asked now: the parser forgets it when it leaves the message.
        self._keeps = self.parser.should_keep_alive()
        handler, self._handler = self._handler, None
        if handler is not None:
            self._start(handler)
            return
        self._waits = True
        self.server_state.turn.add(self, self.loop)

    def _start(self, handler: DirectHandler) -> None:
        """Have a handler work in a task."""
        pieces, self._held = self._held or (), None
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        handled = self._working = Handled(self, self.url, self.parser.get_method(), self.headers, body, self._keeps)
        # Not by the loop, whose factory of tasks is for those that requests begin.
        task = handled.task = asyncio.Task(handler.handle(handled), loop=self.loop)
        self.tasks.add(task)

    def _as_any_other(self) -> None:
        """Give the request that a handler works for what ASGI has, where what happens to it needs that."""
        if self._working is not None:
            self._working.cycle()

    def handed_over(self, cycle: RequestResponseCycle) -> None:
        """A request that a handler works for is one like any other from now on."""
        self._working = None
        self.cycle = self._answering = cycle
        self.scope = cycle.scope

    def begin_answer(self, status: int, lines: bytes, body: bytes = b"", *, keeps: bool) -> bool:
        """Send the head of an answer, and the body where it is there.

        Returns:
            Whether the connection stays open.
        """
        state = self.server_state
        keeps = keeps and not state.draining
        parts = [STATUS_LINE[status]]
        for name, value in state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        joins = len(body) <= _LONGEST_JOINED
        parts += (lines, b"\r\n" if keeps else b"connection: close\r\n\r\n", body if joins else b"")
        self.transport.write(b"".join(parts))
        if not joins:
            self.transport.write(body)
        return keeps

    def end_answer(self, *, keeps: bool) -> None:
        """All of it has been sent: what comes next on the connection has its turn."""
        self._working = None
        self.server_state.total_requests += 1
        if not keeps:
            self.transport.close()
            return
        # One timer for many requests, looked after when it fires: arming and cancelling one for each costs more.
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._await_idle(self._limits.keep_alive)

    def compute(self) -> bool:
        """See :class:`~pillion.transport.http.turn.Waiting`."""
        held = self._held
        if not self._waits or held is None or self._direct is None:
            return False
        self._waits = False  # a connection can be in one turn twice, its request is computed once
        body = held[0] if len(held) == 1 else b"".join(held)
        self._outcome = self._direct(self.url, self.headers, body, self._sender)
        return True

    def settle(self) -> None:
        """See :class:`~pillion.transport.http.turn.Waiting`."""
        outcome, self._outcome = self._outcome, None
        answer = outcome if outcome is None or isinstance(outcome, DirectAnswer) else outcome.finish()
        if isinstance(answer, DirectAnswer):
            self._held = None
            self._write(answer)
        else:
            self._begun = answer
            self._release()
            self.cycle.keep_alive = self.cycle.keep_alive and self._keeps
            super().on_message_complete()

    def give_up(self, error: BaseException) -> None:
        """See :class:`~pillion.transport.http.turn.Waiting`."""
        self._waits, self._held, self._outcome = False, None, None
        self.loop.call_exception_handler({"message": "a request failed outside of the application", "exception": error})
        self.transport.abort()

    def _answer_now(self) -> None:
        """Answer a request that waits for the end of the turn, before what comes next on its connection."""
        if self.compute():
            self.settle()

    def _busy(self) -> bool:
        return self._waits or self._working is not None or super()._busy()

    def eof_received(self) -> None:
        """The client sends nothing more, but may still read."""
        self._answer_now()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there to be answered."""
        self._waits, self._held = False, None
        if self._working is not None:
            self._working.gone, self._working = True, None
        answering = self._answering
        if answering is not None and not answering.response_complete:
            answering.disconnected = True
            answering.message_event.set()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close after the answer."""
        self._answer_now()
        self._as_any_other()
        super().shutdown()

    def close_after_answer(self) -> None:
        """As ever; an answer that waits for the end of the turn will see for itself that the server drains."""
        self._as_any_other()
        if not self._waits:
            super().close_after_answer()

    def cut(self) -> None:
        """End the connection after the answer that is due in this turn, if there is one."""
        self._answer_now()
        self._as_any_other()
        super().cut()

    def _refuse(self, refusal: Refusal) -> None:
        self._answer_now()
        self._as_any_other()
        super()._refuse(refusal)

    def _release(self) -> None:
        """Let the request that was held back go the ordinary way."""
        pieces, self._held, self._handler = self._held or (), None, None
        self._ordinary()
        for piece in pieces:
            super().on_body(piece)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        begun, self._begun = self._begun, None
        self._answering = cycle
        # As uvicorn does it; not by the loop, whose factory of tasks is for those that requests begin.
        work = cycle.run_asgi(app if begun is None else cast("ASGI3Application", begun))
        task = asyncio.Task(work, loop=self.loop)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _write(self, answer: DirectAnswer) -> None:
        self.end_answer(keeps=self.begin_answer(answer.status, answer.head, answer.body, keeps=self._keeps))

    def _await_idle(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for all of its time."""
        self.timeout_keep_alive_task = None
        if self._phase != IDLE or self._busy():
            return
        left = self._idle_since + self._limits.keep_alive - self.loop.time()
        if left > 0:
            self._await_idle(left)
        else:
            super().timeout_keep_alive_handler()
