"""A request of a client, from its queue to its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from pillion.arguments import check_seconds
from pillion.socket.application import NOTHING
from pillion.socket.errors import EnqueueTimeoutError, ResponseTimeoutError
from pillion.socket.frames import NO_DATA, Kind
from pillion.socket.values import pack, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.socket.channel import Outgoing
    from pillion.socket.values import Part

__all__ = ["Call", "Order", "ordered"]


class Order(NamedTuple):
    """What is asked for, ready to be written."""

    path: str
    kind: Kind
    flags: int
    parts: Sequence[Part]
    enqueue_timeout: float | None
    response_timeout: float | None


def ordered(path: str, data: object, enqueue_timeout: float | None, response_timeout: float | None) -> Order:
    """Pack a request; any thread may.

    Args:
        path: of the application.
        data: for it, or :data:`~pillion.socket.application.NOTHING`.
        enqueue_timeout: seconds until it begins to be written.
        response_timeout: seconds from then to the answer; 0: no answer is wanted.

    Raises:
        TypeError: the data cannot be sent, or another argument is of the wrong kind.
        ValueError: a time is negative.
    """
    if not isinstance(path, str):
        raise TypeError(f"path is the text of a path, such as '/double', and not a {type(path).__name__}")
    check_seconds("enqueue_timeout", enqueue_timeout)
    check_seconds("response_timeout", response_timeout)
    flags, items = (NO_DATA, [path]) if data is NOTHING else (0, [path, data])
    parts: Sequence[Part] = pack(items)
    if response_timeout == 0:
        # Who sent it may write to it before it is gone.
        return Order(path, Kind.POST, flags, [bytes(part) for part in parts], enqueue_timeout, response_timeout)
    return Order(path, Kind.REQUEST, flags, parts, enqueue_timeout, response_timeout)


class Call:
    """See the module's docstring. Event loop's thread only.

    Args:
        number: of the request.
        order: what is asked for.
        deadline: on the loop's clock, for it to begin to be written.
    """

    __slots__ = (
        "_clock",
        "answer",
        "forget",
        "number",
        "order",
        "outgoing",
        "size",
    )

    def __init__(self, number: int, order: Order, deadline: float | None) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.order = order
        self.size = size_of(order.parts)
        self.answer: asyncio.Future[Any] = loop.create_future()
        self.outgoing: Outgoing | None = None
        self.forget: Callable[[Call], None] | None = None
        """Takes it out of where it is, when nobody waits for it any more."""
        self._clock = None if deadline is None else loop.call_at(deadline, self._too_late)

    @property
    def begun(self) -> bool:
        """Whether any of it has left."""
        return self.outgoing is not None and self.outgoing.begun

    def began(self) -> None:
        """It is being written: from now on the answer is waited for."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        if self.order.response_timeout:
            self._clock = self.answer.get_loop().call_later(self.order.response_timeout, self._unanswered)

    def _too_late(self) -> None:
        self.fail(
            EnqueueTimeoutError(f"{self.order.path}: the request was not sent in time: there was no room, or no server")
        )
        self.give_up()

    def _unanswered(self) -> None:
        self.fail(
            ResponseTimeoutError(
                f"{self.order.path}: sent, and there is no answer within {self.order.response_timeout:g} s"
            )
        )
        self.give_up()

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        if self._clock is not None:
            self._clock.cancel()
        if self.forget is not None:
            forget, self.forget = self.forget, None
            forget(self)

    def succeed(self, value: object) -> None:
        """There is the answer."""
        self.end()
        if not self.answer.done():
            self.answer.set_result(value)

    def fail(self, error: Exception) -> None:
        """There will be none."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def end(self) -> None:
        """It is over."""
        self.forget = None
        if self._clock is not None:
            self._clock.cancel()
