"""Requests that the HTTP engine hands over as bytes: what becomes of them.

See :mod:`pillion.transport.http.direct`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from pillion.transport.http.answer import Answer, head_lines
from pillion.transport.http.direct import DirectAnswer
from pillion.transport.http.failures import failed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.transport.http.infer import Begun
    from pillion.transport.http.routes import Target
    from pillion.transport.http.tasks import BegunTask

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["BegunCall", "Given", "Ordinary", "at_once"]

_JSON_HEAD: Final = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"


class Finisher(Protocol):
    """Who answers what could not be answered at once: the dispatcher."""

    def compresses(self, outcome: bytes | Answer, asked: bytes) -> bool:
        """Whether an answer is to be compressed."""
        ...

    async def finish(
        self,
        working: Awaitable[Answer],
        scope: Scope,
        send: Send,
        target: Target,
        identity: str,
        receive: Receive | None = None,
    ) -> None:
        """Await the answer, send it or what failed, and tell of it."""
        ...


class Ordinary:
    """A request that goes the ordinary way, with what was decided about it (see the protocol of the class below)."""

    __slots__ = ("_application",)

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    def finish(self) -> ASGIApp:
        """The way it goes."""
        return self._application


class Given:
    """An answer that is there already and goes the ordinary way."""

    __slots__ = ("_answer",)

    def __init__(self, outcome: bytes | Answer) -> None:
        self._answer = Answer(outcome) if isinstance(outcome, bytes) else outcome

    def finish(self) -> None:
        """As if it were not there yet."""

    async def answer(self, _scope: Scope, _: Receive) -> Answer:
        """What was given."""
        return self._answer


class BegunCall:
    """See :class:`~pillion.transport.http.direct.DirectCall`."""

    __slots__ = ("_asked", "_begun", "_finisher", "_identity", "_target")

    def __init__(
        self, finisher: Finisher, begun: Begun | BegunTask | Given, target: Target, identity: str, asked: bytes
    ) -> None:
        self._finisher = finisher
        self._begun = begun
        self._target = target
        self._identity = identity
        self._asked = asked

    def finish(self) -> DirectAnswer | ASGIApp:
        """The answer, or the way that the rest of the request goes."""
        try:
            outcome = self._begun.finish()
        except Exception as error:  # noqa: BLE001  # the boundary, as in finish
            return at_once(failed(error, self._identity, self._target), self._identity)
        if outcome is None:
            return self._rest
        streamed = type(outcome) is Answer and outcome.events is not None
        if streamed or self._finisher.compresses(outcome, self._asked):
            self._begun = Given(outcome)
            return self._rest
        return at_once(outcome, self._identity)

    async def _rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        working = self._begun.answer(scope, receive)
        await self._finisher.finish(working, scope, send, self._target, self._identity, receive)


def at_once(outcome: bytes | Answer, identity: str) -> DirectAnswer:
    """An answer as the engine sends it."""
    if isinstance(outcome, bytes):
        return DirectAnswer(200, _JSON_HEAD % (len(outcome), identity.encode()), outcome)
    whole = b"".join((outcome.body, *outcome.parts)) if outcome.parts else outcome.body
    return DirectAnswer(outcome.status, head_lines(outcome, len(whole), identity), whole)
