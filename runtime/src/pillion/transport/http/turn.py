"""What one turn of the event loop puts together: requests that arrived in it, and heads of answers with their bodies.

Taken one by one, each request sends the processor through the kernel's receiving, the parser, the decoder, the model,
the encoder and the kernel's sending, and each of these pushes the next one's code out of the caches. Taken stage by
stage, all of them run on warm caches, and a client with several connections is woken once for several answers. On
small models that is worth a quarter of the processor time.

A turn's answers are written after 32 requests or a millisecond at the latest, so that the first does not wait long for
the last.

An application sends the head of an answer and its body by two messages, nearly always without waiting between them. The
transport hands each to the kernel at once, and each wakes the client. A body that comes in the same turn is written
together with its head; where none does, the head goes alone, for a client may wait for it before a slow body.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Gatherer", "HeldHead", "HeldHeads", "Turn", "Waiting"]

_MOST: Final = 32
_LONGEST: Final = 0.001


class Waiting(Protocol):
    """A connection with a request that is complete and not begun."""

    def compute(self) -> bool:
        """Begin the request; False where there is none any more."""
        ...

    def settle(self) -> None:
        """Send what came of it."""
        ...

    def give_up(self, error: BaseException) -> None:
        """End the connection: one of the others failed."""
        ...


class Gatherer(Protocol):
    """Puts requests that are computed in a row together."""

    def gather(self, requests: int) -> None:
        """So many are about to begin."""
        ...

    def flush(self) -> None:
        """All of them have begun, and will be settled."""
        ...


class Turn:
    """The connections of one listener whose requests wait for the end of this turn of the loop."""

    __slots__ = ("_clock", "_waiting", "gatherer")

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self.gatherer: Gatherer | None = None
        """Who puts requests that are computed in a row together."""
        self._waiting: list[Waiting] = []

    def add(self, connection: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        """Have it answered once the loop has read what else has arrived."""
        if not self._waiting:
            loop.call_soon(self._end)
        self._waiting.append(connection)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        computed: list[Waiting] = []
        due = self._clock() + _LONGEST
        left = len(waiting)
        gatherer = self.gatherer
        if gatherer is not None:
            gatherer.gather(left)
        for connection in waiting:
            left -= 1
            try:
                if connection.compute():
                    computed.append(connection)
            except BaseException as error:  # noqa: BLE001 - the others must not suffer; it is reported by the loop
                connection.give_up(error)
            if len(computed) == _MOST or (computed and self._clock() >= due):
                self._settle(computed)
                computed = []
                if gatherer is not None:
                    gatherer.gather(left)
                due = self._clock() + _LONGEST
        self._settle(computed)

    def _settle(self, computed: list[Waiting]) -> None:
        if self.gatherer is not None:
            self.gatherer.flush()
        for connection in computed:
            try:
                connection.settle()
            except BaseException as error:  # noqa: BLE001 - as above
                connection.give_up(error)


class HeldHead(Protocol):
    """An answer whose head waits."""

    def send_head(self) -> None:
        """Send it, unless the body has taken it along."""
        ...


class HeldHeads:
    """Those of one listener's connections."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[HeldHead] = []

    def add(self, answer: HeldHead, loop: asyncio.AbstractEventLoop) -> None:
        """Have its head sent in the next turn of the loop at the latest."""
        if not self._held:
            loop.call_soon(self._send)
        self._held.append(answer)

    def _send(self) -> None:
        held, self._held = self._held, []
        for answer in held:
            answer.send_head()
