"""A request that came whole, on its way through who answers it in a task.

uvicorn makes a cycle, an event and a scope for each request, since its body may still be coming and its answer may be
of any form. Most requests come whole and get an answer whose length is stated: these need none of it. What is asked of
such a request beyond that (to wait for the client's leaving, an answer in chunks, a pipelined request behind it, a
server that stops) makes the cycle that uvicorn would have made, in the state that it would be in, and goes on with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from pillion.transport.http.stated import stated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.transport.http.departure import Departure
    from pillion.transport.http.direct import DirectHttpProtocol

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["DirectHandler", "Handled", "HandlerApplication"]


class Handled:
    """See the module's docstring.

    Args:
        connection: that it came by.
        target: as it was sent.
        method: likewise; never ``HEAD``.
        headers: names in lower case.
        body: all of it.
        keeps: whether the connection stays open after it.
    """

    __slots__ = (
        "_answered", "_connection", "_cycle", "_held", "_left", "_method", "_read", "_target", "body", "departure",
        "gone", "headers", "keeps", "task",
    )  # fmt: skip

    root = ""
    """Where a server around this one has it: none is."""
    whole = True
    """Whether the body is there."""
    head = False
    """Whether only the head of an answer is asked for."""

    def __init__(
        self,
        connection: DirectHttpProtocol,
        target: bytes,
        method: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        keeps: bool,  # noqa: FBT001 - by position: one for each request
    ) -> None:
        self._connection = connection
        self._target = target
        self._method = method
        self.headers = headers
        self.body = body
        self.keeps = keeps
        self.departure: Departure = connection.departure
        """Tells of the client's leaving."""
        self.gone = False
        """Whether the client has left."""
        self.task: asyncio.Task[None] | None = None
        """What works for it; its last act is to call :meth:`ended`."""
        self._cycle: RequestResponseCycle | None = None
        self._read = False
        """Whether the body has been given by the channel."""
        self._left = -1
        """Bytes that the answer has promised and not sent; negative before its head."""
        self._held: tuple[int, bytes] | None = None
        """Status and header lines of a head that waits for its body (see :mod:`pillion.transport.http.turn`)."""
        self._answered = False
        """Whether a whole answer has been sent without a cycle."""

    def scope(self) -> Scope:
        """The request as ASGI has it: a new one for who asks."""
        connection = self._connection
        path, _, query = self._target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": connection.server,
            "client": connection.client,
            "scheme": connection.scheme,
            "root_path": "",
            "headers": self.headers,
            "method": self._method.decode("ascii"),
            "path": path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
        }

    def cycle(self) -> RequestResponseCycle:
        """uvicorn's, which what is left of the request and its answer go by from now on."""
        if self._cycle is None:
            self.send_head()
            connection = self._connection
            cycle = self._cycle = RequestResponseCycle(
                scope=cast("Any", self.scope()),
                transport=connection.transport,
                flow=connection.flow,
                logger=connection.logger,
                access_logger=connection.access_logger,
                access_log=False,
                default_headers=connection.server_state.default_headers,
                message_event=asyncio.Event(),
                expect_100_continue=False,
                keep_alive=self.keeps and not connection.server_state.draining,
                on_response=connection.on_response_complete,
            )
            cycle.more_body = False
            cycle.disconnected = self.gone
            if self._left >= 0:
                cycle.response_started, cycle.chunked_encoding = True, False
                cycle.expected_content_length = self._left
            if self._answered:  # work in the background asks: the connection may be at its next request long ago
                cycle.response_started = cycle.response_complete = True
            elif not self.gone:
                connection.handed_over(cycle)
        return self._cycle

    async def receive(self) -> Message:
        """ASGI's channel."""
        if self._read or self.gone or self._answered:
            return cast("Message", await self.cycle().receive())
        self._read = True
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: Message) -> None:
        """The other."""
        if self._cycle is not None or not self._sent(message):
            await self.cycle().send(cast("Any", message))

    def _sent(self, message: Message) -> bool:
        """Send a part of an answer whose length is stated; False where that is for a cycle, or its to refuse."""
        connection = self._connection
        if self._answered or connection.flow.write_paused:
            return False
        if self._left < 0:
            head = stated(message) if message["type"] == "http.response.start" else None
            if head is None or message["status"] not in STATUS_LINE:
                return False
            lines, self._left = head
            self._held = (message["status"], lines)
            connection.server_state.heads.add(self, connection.loop)
            return True
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        left = self._left - len(body)
        if message["type"] != "http.response.body" or left < 0 or (left and not more):
            return False
        self._left = left
        if not more:
            self._answered = True
        if not self.gone:
            if self._held is not None:
                (status, lines), self._held = self._held, None
                self.keeps = connection.begin_answer(status, lines, body, keeps=self.keeps)
            else:
                connection.transport.write(body)
            if not more:
                connection.end_answer(keeps=self.keeps)
        return True

    def send_head(self) -> None:
        """See :class:`~pillion.transport.http.turn.HeldHead`."""
        held, self._held = self._held, None
        if held is not None and not self.gone and not self._connection.transport.is_closing():
            self.keeps = self._connection.begin_answer(*held, keeps=self.keeps)

    def cut(self) -> None:
        """End the connection after what was sent."""
        self.send_head()
        if not self.gone:
            self._connection.transport.close()

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """Send a whole answer; False where the channel has to be used, as a cycle was asked for meanwhile.

        Args:
            status: of it.
            lines: of its headers, each ended by CRLF, the content length among them.
            body: all of it.
        """
        if self._cycle is not None:
            return False
        self._answered = True
        if not self.gone:
            keeps = self._connection.begin_answer(status, lines, body, keeps=self.keeps)
            self._connection.end_answer(keeps=keeps)
        return True

    def ended(self) -> None:
        """Nothing works for it any more. Without a whole answer the connection ends, or the client waited for ever."""
        self._connection.tasks.discard(self.task)
        cycle = self._cycle
        told = self._answered if cycle is None else cycle.response_complete or cycle.disconnected
        if not told:
            self.cut()


class DirectHandler(Protocol):
    """What answers a request in a task, without a cycle of ASGI where it needs none."""

    async def handle(self, request: Handled, /) -> None:
        """Answer a request, and tell it at last that its work has ended."""
        ...


@runtime_checkable
class HandlerApplication(Protocol):
    """An ASGI application below some of whose paths there are others."""

    def handler(self, target: bytes) -> DirectHandler | None:
        """Whose request that is; None where it takes the ordinary way."""
        ...
