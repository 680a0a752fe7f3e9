"""A client's connection: calls out, answers in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.socket.channel import Channel
from pillion.socket.errors import ConnectionLostError, ProtocolError, RemoteError, UnknownPathError
from pillion.socket.frames import Kind
from pillion.socket.values import pack, unpack

if TYPE_CHECKING:
    import asyncio

    from pillion.socket.calls import Call
    from pillion.socket.frames import Message

__all__ = ["Connection", "RefusedError"]


class RefusedError(ProtocolError):
    """The server does not let this client in."""


class Connection:
    """See the module's docstring. Event loop's thread only.

    Args:
        ready: given this, or what went wrong, when the server has greeted.
        orphaned: given the calls that had not begun when the connection ended, and this.
        token: to be let in with.
        max_bytes: of an answer.
        stall_seconds: for the server to greet, and to go on within an answer that it has begun.
    """

    def __init__(
        self,
        ready: asyncio.Future[Connection],
        orphaned: Any,  # noqa: ANN401 - the pool's own
        *,
        token: str | None,
        max_bytes: int,
        stall_seconds: float,
    ) -> None:
        self._ready = ready
        self._orphaned = orphaned
        self._token = token
        self._max_answer = max_bytes
        self._max_request = 0
        self._refusal: Exception | None = None
        self.calls: dict[int, Call] = {}
        """Those that wait for an answer, or for being written."""
        self.ended: asyncio.Future[None] = ready.get_loop().create_future()
        """When it takes no more calls."""
        self.leaving = False
        """Whether it takes no more calls."""
        self.channel = Channel(self, max_bytes=max_bytes, stall_seconds=stall_seconds, cut_deaf=False)

    # --- the channel's peer

    def made(self) -> None:
        """Wait for the greeting."""

    def greeted(self, max_bytes: int) -> None:
        """Take calls."""
        self._max_request = max_bytes
        if self._token is not None:
            self.channel.send(Kind.TOKEN, 0, pack([self._token]))
        if not self._ready.done():
            self._ready.set_result(self)

    def received(self, messages: list[Message]) -> None:
        """Answers."""
        for message in messages:
            if message.kind is Kind.LEAVING:
                self._leave()
            elif message.kind is Kind.ERROR and message.id == 0:
                _, why, _ = _error_of(message)
                self._refusal = RefusedError(f"the server refuses this client: {why}")
            elif message.kind in (Kind.RESPONSE, Kind.ERROR):
                call = self.calls.pop(message.id, None)
                if call is not None:  # else it has been given up
                    self._answer(call, message)
            else:
                raise ProtocolError(f"a server does not send {message.kind.name}")

    def lost(self, error: Exception | None) -> None:
        """End the calls that had begun, and give the others back."""
        self._end()
        why = self._refusal or error
        if not self._ready.done():
            self._ready.set_exception(
                why if why is not None else ConnectionResetError("the server closed the connection at once")
            )
        calls, self.calls = list(self.calls.values()), {}
        others = []
        for call in calls:
            if self._refusal is not None:
                call.end()
                call.fail(self._refusal)
            elif call.begun:
                call.end()
                call.fail(
                    ConnectionLostError(
                        f"{call.order.path}: sent, and the connection ended before the answer"
                        + (f": {why}" if why is not None else "")
                    )
                )
            else:
                others.append(call)
        self._orphaned(self, others, self._refusal)

    # --- calls

    def take(self, call: Call) -> None:
        """Send a call."""
        if call.size > self._max_request:
            call.end()
            call.fail(ValueError(f"the request has {call.size} bytes and the server takes at most {self._max_request}"))
            return
        order = call.order
        self.calls[call.number] = call
        call.forget = self._forget
        call.outgoing = self.channel.send(order.kind, call.number, order.parts, flags=order.flags)
        call.outgoing.on_begun = call.began
        if order.kind is Kind.POST:
            call.outgoing.on_written = lambda: self._posted(call)

    def _posted(self, call: Call) -> None:
        self.calls.pop(call.number, None)
        call.succeed(None)
        self._finish_if_empty()

    def _forget(self, call: Call) -> None:
        if self.calls.pop(call.number, None) is None:
            return
        if call.outgoing is not None:
            call.outgoing.drop()
            if call.outgoing.begun:
                self.channel.send(Kind.CANCEL, call.number)
        self._finish_if_empty()

    def _answer(self, call: Call, message: Message) -> None:
        try:
            if message.refused:
                text = f"the answer has {message.refused} bytes and this client takes at most {self._max_answer}"
                call.fail(ProtocolError(text))
            elif message.kind is Kind.RESPONSE:
                call.succeed(unpack(message.body)[0])
            else:
                kind, text, traceback = _error_of(message)
                error = UnknownPathError if kind == UnknownPathError.__name__ else RemoteError
                call.fail(error(kind, text, traceback))
        except (ProtocolError, IndexError) as error:
            call.fail(error if isinstance(error, ProtocolError) else ProtocolError("an answer without a value"))
        call.end()
        self._finish_if_empty()

    def _leave(self) -> None:
        """Give back what has not begun, and end when the answers to the others are there."""
        self._end()
        others = [call for call in self.calls.values() if not call.begun]
        for call in others:
            del self.calls[call.number]
            if call.outgoing is not None:
                call.outgoing.drop()
                call.outgoing = None
        self._orphaned(self, others, None)
        self._finish_if_empty()

    def _end(self) -> None:
        self.leaving = True
        if not self.ended.done():
            self.ended.set_result(None)

    def _finish_if_empty(self) -> None:
        if self.leaving and not self.calls:
            self.channel.finish()


def _error_of(message: Message) -> tuple[str, str, str]:
    items = unpack(message.body)
    if len(items) != 3 or not all(isinstance(item, str) for item in items):
        raise ProtocolError("an error that cannot be read")
    kind, text, traceback = items
    return kind, text, traceback
