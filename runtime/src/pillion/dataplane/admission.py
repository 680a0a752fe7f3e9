"""Who may run now, who waits, and who is turned away: one gate per loaded model.

The gate is a counter and a queue in the order of arrival. All of it happens on the event loop's thread, so a free slot
costs an addition and nothing else. A request that is refused is told after how many seconds trying again makes
sense: the time the queue in front of it needs at the rate the model has shown.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from pillion.dataplane.standing import StandingQueue
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Admission", "ServiceRate", "deadline_exceeded"]

_WEIGHT: Final = 0.1
_ENOUGH: Final = 8
_SHORTEST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 60.0


class ServiceRate:
    """Smoothed time that one call takes. Seconds."""

    __slots__ = ("calls", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0

    def add(self, seconds: float) -> None:
        """Take note of one finished call."""
        self.calls += 1
        if self.calls == 1:
            self.seconds = seconds
        else:
            self.seconds += _WEIGHT * (seconds - self.seconds)

    def wait(self, ahead: int, capacity: int) -> float:
        """Seconds until ``ahead`` calls are done by ``capacity`` at a time."""
        return self.seconds * ahead / capacity

    @property
    def known(self) -> bool:
        """Whether enough calls were seen to turn requests away because of it."""
        return self.calls >= _ENOUGH


def deadline_exceeded(where: str) -> PillionError:
    """The error for a deadline that passed; ``where`` says what the request was doing."""
    return PillionError(ErrorCode.DEADLINE_EXCEEDED, f"the deadline passed {where}")


class Admission:
    """Slots and queue of one model.

    Args:
        model: name and version, for messages.
        capacity: requests that run at the same time.
        max_queue: requests that may wait.
        clock: monotonic seconds.
        shed: whether a queue that does not empty is kept short.
    """

    __slots__ = ("_clock", "_model", "_standing", "_waiting", "capacity", "gathered", "max_queue", "rate", "running")

    def __init__(
        self, model: str, capacity: int, max_queue: int, clock: Callable[[], float], *, shed: bool = False
    ) -> None:
        self._model = model
        self._clock = clock
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self.capacity = capacity
        self.max_queue = max_queue
        self.running = 0
        self.gathered = 0
        """Requests that wait to share a call (see :mod:`pillion.dataplane.batching`)."""
        self.rate = ServiceRate()
        self._standing = StandingQueue() if shed else None

    @property
    def queued(self) -> int:
        """Requests waiting now."""
        return len(self._waiting) + self.gathered

    def try_enter(self) -> bool:
        """Take a free slot at once, unless others have been waiting for one."""
        if self.running < self.capacity and not self._waiting:
            self.running += 1
            return True
        return False

    async def enter(self, deadline: float | None) -> None:
        """Wait for a slot.

        Cancelling the awaiting task, or the deadline, takes the request out of the queue.

        Raises:
            PillionError: ``QUEUE_FULL`` at once, or ``DEADLINE_EXCEEDED``.
        """
        self.refuse_if_hopeless(deadline)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting[turn] = None
        timer = None
        if deadline is not None:
            timer = loop.call_later(max(0.0, deadline - self._clock()), self._expire, turn)
        try:
            await turn
        except (asyncio.CancelledError, GeneratorExit):
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # the slot was handed over in the same instant: pass it on
            raise
        finally:
            self._waiting.pop(turn, None)
            if timer is not None:
                timer.cancel()

    def leave(self) -> None:
        """Give the slot back, to the request that has waited longest if there is one."""
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def admit_waiting(self) -> None:
        """Give a slot to every waiting request, however many: for calls that cannot overlap."""
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                self.running += 1
                turn.set_result(None)

    def fail_waiting(self, error: Callable[[], PillionError]) -> None:
        """End every waiting request with an error of its own."""
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_exception(error())

    def queue_full(self) -> PillionError:
        """The refusal, with the time after which the queue has room."""
        return PillionError(
            ErrorCode.QUEUE_FULL,
            f"model {self._model}: {self.running} requests are running and {self.queued} are waiting,"
            f" which is the limit (execution.maxQueue {self.max_queue})",
            remedy="try again later",
            retry_after=self._retry_after(),
        )

    def _retry_after(self) -> float:
        wait = self.rate.wait(self.queued + 1, self.capacity)
        return min(_LONGEST_RETRY, max(_SHORTEST_RETRY, wait))

    def refuse_if_hopeless(self, deadline: float | None) -> None:
        """Turn a request that would have to wait away where the queue is full, or longer than its deadline is far.

        Raises:
            PillionError: ``QUEUE_FULL``.
        """
        if self.queued >= self.max_queue:
            raise self.queue_full()
        if not self.rate.known:
            return
        now = self._clock()
        expected = self.rate.wait(self.queued + 1, self.capacity)
        if self._standing is not None and self._standing.turns_away(now, self.queued, expected, self.rate.seconds):
            raise PillionError(
                ErrorCode.QUEUE_FULL,
                f"model {self._model}: requests have been waiting all the time, {self.queued} of them now; another one"
                f" would wait {expected:.3f} s (limits.shed_standing_queue)",
                remedy="try again later",
                retry_after=self._retry_after(),
            )
        if deadline is None:
            return
        left = deadline - now
        if expected > left:
            raise PillionError(
                ErrorCode.QUEUE_FULL,
                f"model {self._model}: {self.queued} requests are waiting and the deadline is {left:.2f} s away,"
                f" sooner than the {expected:.2f} s they need",
                remedy="try again later or allow more time",
                retry_after=self._retry_after(),
            )

    def _expire(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            self._waiting.pop(turn, None)
            turn.set_exception(deadline_exceeded("while the request was waiting in the queue"))
