"""Who may run now, who waits, and who is turned away: one gate per loaded model.

The gate is a counter and a line (:mod:`pillion.dataplane.line`). All of it happens on the event loop's thread, so a
free slot costs an addition and nothing else. A request that is refused is told after how many seconds trying again
makes sense: the time the queue in front of it needs at the rate the model has shown.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from pillion.dataplane.concurrency import WatchedRate
from pillion.dataplane.line import Line, host_of, loser
from pillion.dataplane.ranks import Ranks
from pillion.dataplane.rate import ServiceRate
from pillion.dataplane.standing import Shedding, ShedWhen
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pillion.dataplane.line import InLine, Place

__all__ = ["Admission", "Gathered", "deadline_exceeded"]

_SHORTEST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 60.0


class Gathered(Protocol):
    """Requests of the same model that wait to share calls (see :mod:`pillion.dataplane.gathering`)."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        ...

    def places(self) -> Iterable[Place]:
        """Each of them."""
        ...


def deadline_exceeded(where: str) -> PillionError:
    """The error for a deadline that passed; ``where`` says what the request was doing."""
    return PillionError(ErrorCode.DEADLINE_EXCEEDED, f"the deadline passed {where}")


class _Turn:
    """A request that waits for a slot of its own."""

    __slots__ = ("_client", "_host", "arrived", "future", "rank")

    def __init__(self, rank: int, arrived: float, client: Callable[[], str] | None) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rank = rank
        self.arrived = arrived
        self._client = client
        self._host: str | None = None

    @property
    def host(self) -> str:
        if self._host is None:
            self._host = host_of(self._client)
        return self._host

    def take(self, *, by_age: bool) -> bool:  # noqa: ARG002 - as in InLine
        if self.future.done():
            return False
        self.future.set_result(None)
        return True

    def give_up(self, error: PillionError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Admission:
    """Slots and queue of one model.

    Args:
        model: name and version, for messages.
        capacity: requests that run at the same time.
        max_queue: requests that may wait.
        clock: monotonic seconds.
        shed_when: when the queue is kept short.
        ranks: levels of priority.
        adaptive: whether how many run at the same time is found out; ``capacity`` is the most then.
    """

    __slots__ = (
        "_clock", "_line", "_model", "capacity", "gathered", "max_queue", "ranks", "rate", "running", "shedding",
        "turns",
    )  # fmt: skip

    def __init__(
        self,
        model: str,
        capacity: int,
        max_queue: int,
        clock: Callable[[], float],
        shed_when: ShedWhen = ShedWhen.NEVER,
        ranks: Ranks | None = None,
        *,
        adaptive: bool = False,
    ) -> None:
        self._model = model
        self._clock = clock
        self.ranks = ranks or Ranks()
        self._line = Line(self.ranks.count)
        self.turns = 0
        """Requests that wait for a slot of their own."""
        self.gathered: tuple[Gathered, ...] = ()
        """Where those are that wait to share calls."""
        self.max_queue = max_queue
        self.running = 0
        self.rate = WatchedRate(capacity, lambda: self.running, self._resize) if adaptive else ServiceRate()
        self.capacity = self.rate.limit if isinstance(self.rate, WatchedRate) else capacity
        self.shedding = None if shed_when is ShedWhen.NEVER else Shedding(early=shed_when is ShedWhen.STANDING)

    @property
    def queued(self) -> int:
        """Requests waiting now."""
        return self.turns + sum(gathered.waiting for gathered in self.gathered)

    def try_enter(self) -> bool:
        """Take a free slot at once, unless others have been waiting for one."""
        if self.running < self.capacity and not self._line.length:
            self.running += 1
            return True
        return False

    async def enter(self, deadline: float | None, priority: int = 0, client: Callable[[], str] | None = None) -> None:
        """Wait for a slot.

        Cancelling the awaiting task, or the deadline, takes the request out of the queue.

        Args:
            deadline: monotonic time, or None.
            priority: as the request asks for it.
            client: who sent it.

        Raises:
            PillionError: ``QUEUE_FULL`` at once, or when one of a higher priority takes its place;
                ``DEADLINE_EXCEEDED``.
        """
        rank = self.ranks.of(priority)
        self.admit(deadline, rank, client)
        turn = _Turn(rank, self._clock(), client)
        self.stand(turn)
        self.turns += 1
        timer = None
        if deadline is not None:
            seconds = max(0.0, deadline - self._clock())
            timer = asyncio.get_running_loop().call_later(seconds, self._expire, turn)
        try:
            await turn.future
        except (asyncio.CancelledError, GeneratorExit):
            if turn.future.done() and not turn.future.cancelled() and turn.future.exception() is None:
                self.leave()  # the slot was handed over in the same instant: pass it on
            raise
        finally:
            if self._line.remove(turn):
                self.turns -= 1
            if timer is not None:
                timer.cancel()

    def stand(self, one: InLine) -> None:
        """Have somebody stand in the line for a slot."""
        self._line.add(one)

    def step_out(self, one: InLine) -> None:
        """Somebody does not want a slot any more."""
        self._line.remove(one)

    def leave(self) -> None:
        """Give the slot back, to whose turn it is if anybody stands in the line."""
        while self._line.length and self.running <= self.capacity:
            if self._hand_over():
                return
        self.running -= 1

    def _hand_over(self) -> bool:
        """Let the next one in the line begin, in a slot that is counted already; False if it does not want to."""
        one, by_age = self._line.next()
        if isinstance(one, _Turn):
            self.turns -= 1
        return one.take(by_age=by_age)

    def admit_waiting(self) -> None:
        """Give a slot to every waiting request, however many: for calls that cannot overlap."""
        for _ in range(self._line.length):
            self.running += 1
            if not self._hand_over():
                self.running -= 1

    def _resize(self, capacity: int) -> None:
        """So many calls may run at a time from now on."""
        self.capacity = capacity
        while self._line.length and self.running < capacity:
            self.running += 1
            if not self._hand_over():
                self.running -= 1

    def fail_waiting(self, error: Callable[[], PillionError]) -> None:
        """End every request that waits for a slot of its own with an error of its own."""
        for one in self._line.all():
            if isinstance(one, _Turn):
                self._line.remove(one)
                self.turns -= 1
                one.give_up(error())

    def admit(self, deadline: float | None, rank: int, client: Callable[[], str] | None) -> None:
        """Turn a request that would have to wait away where the queue is full or kept short and nobody gives up its
        place, or where it would wait longer than its deadline is far.

        Raises:
            PillionError: ``QUEUE_FULL``.
        """
        ahead = queued = self.queued
        if queued and self.ranks.count > 1:
            ahead = sum(place.rank <= rank for place in self._places())
        shedding = self.shedding
        now = self._clock()
        refusal: Callable[[], PillionError] | None = None
        if queued >= self.max_queue:
            refusal = self.queue_full
            if shedding is not None:
                shedding.overflowed(now, self.rate)
        if not self.rate.known:
            expected = 0.0
        else:
            expected = self.rate.wait(ahead + 1, self.capacity)
            if (
                refusal is None
                and shedding is not None
                and shedding.turns_away(now, queued, ahead, self.rate, self.capacity)
            ):
                refusal = self._kept_short
        if deadline is not None and expected > deadline - now:
            raise self._hopeless(ahead, deadline - now, expected) if refusal is None else refusal()
        if refusal is not None:
            self._displace(rank, client, refusal)

    def _displace(self, rank: int, client: Callable[[], str] | None, refusal: Callable[[], PillionError]) -> None:
        """Have somebody give up its place to a request, which is refused where nobody has to."""
        found = loser(self._places(), rank, host_of(client))
        if found is None:
            raise refusal()
        if isinstance(found, _Turn) and self._line.remove(found):
            self.turns -= 1
        found.give_up(refusal())

    def _places(self) -> list[Place]:
        places: list[Place] = [one for one in self._line.all() if isinstance(one, _Turn)]
        for gathered in self.gathered:
            places += gathered.places()
        return places

    def queue_full(self) -> PillionError:
        """The refusal, with the time after which the queue has room."""
        return PillionError(
            ErrorCode.QUEUE_FULL,
            f"model {self._model}: {self.running} requests are running and {self.queued} are waiting,"
            f" which is the limit (execution.maxQueue {self.max_queue})",
            remedy="try again later",
            retry_after=self._retry_after(),
        )

    def _kept_short(self) -> PillionError:
        return PillionError(
            ErrorCode.QUEUE_FULL,
            f"model {self._model}: more is asked for than can be computed, so its queue is kept short: {self.queued}"
            " requests are waiting (limits.shed_when)",
            remedy="try again later",
            retry_after=self._retry_after(),
        )

    def _hopeless(self, ahead: int, left: float, expected: float) -> PillionError:
        return PillionError(
            ErrorCode.QUEUE_FULL,
            f"model {self._model}: {ahead} requests are waiting and the deadline is {left:.2f} s away,"
            f" sooner than the {expected:.2f} s they need",
            remedy="try again later or allow more time",
            retry_after=self._retry_after(),
        )

    def _retry_after(self) -> float:
        wait = self.rate.wait(self.queued + 1, self.capacity)
        return min(_LONGEST_RETRY, max(_SHORTEST_RETRY, wait))

    def _expire(self, turn: _Turn) -> None:
        if not turn.future.done():
            if self._line.remove(turn):
                self.turns -= 1
            turn.give_up(deadline_exceeded("while the request was waiting in the queue"))
