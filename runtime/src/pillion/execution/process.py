"""Calls in worker processes: for code that holds the interpreter's lock, crashes, or must be stoppable.

The event loop writes calls to the workers' sockets and reads their answers; but for the copying of large tensors,
nothing else of the server is involved in a call. Workers are supervised: one that has died is replaced, and of its
calls only the one that it had begun is lost; those that it had not are given to others. Whoever waits for a call may
leave: the call is stopped where it can be, and a worker that computes on for nobody is killed after a grace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from pillion.errors import ErrorCode, PillionError
from pillion.execution import restarts
from pillion.execution.api import DeadlinePassedError, WorkerDiedError
from pillion.execution.seats import Seat
from pillion.execution.sent import Sent
from pillion.execution.worker_link import WorkerLink

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pillion.backends.api import Predictor
    from pillion.execution.api import WorkerState
    from pillion.execution.remote import RemoteRun
    from pillion.execution.seats import Lifetime, WorkerPolicy
    from pillion.execution.worker_process import WorkerProcess
    from pillion.tensors import Tensor

__all__ = ["DEPTH", "MOST_DEATHS", "ProcessExecutor"]

_log = logging.getLogger(__name__)

DEPTH: Final = 8
"""Calls that a worker holds at the same time, one computing and the rest waiting, where each takes well under..."""
QUICK_SECONDS: Final = 2e-3
"""...this: a slower call is given to a worker only when it is free, for the next free one may be another."""

MOST_DEATHS: Final = 2
"""Workers that may die over one request: one may have had another reason."""
_LOOK_EVERY: Final = 1.0
_NEXT_RELIEF: Final = 15.0
"""After one that could not be started."""


class ProcessExecutor:
    """See :class:`~pillion.execution.api.Executor`.

    Args:
        label: name and version of the model, for messages.
        processes: the workers, each with its model loaded.
        launch: starts another one for a seat, and loads the model; blocking.
    """

    def __init__(
        self,
        label: str,
        processes: Sequence[WorkerProcess],
        launch: Callable[[int], WorkerProcess],
        policy: WorkerPolicy,
    ) -> None:
        self._label = label
        self._waiting_to_attach = list(processes)
        self._launch = launch
        self._policy = policy
        self._seats = [Seat(index) for index in range(len(processes))]
        self._pending: OrderedDict[Sent, None] = OrderedDict()
        self._last_failure = ""
        self._closed = False
        self._timers: set[asyncio.TimerHandle] = set()
        self.opening: Callable[[], RemoteRun] | None = None
        """The first call of each worker that comes from now on. One that fails over it serves on; the log says so."""
        self._next_look = 0.0

    immediate = False

    @property
    def abandoned(self) -> int:
        """Calls given up that a worker has not ended yet."""
        links = [link for seat in self._seats for link in seat.links()]
        return sum(sent.abandoned for link in links for sent in link.outstanding.values())

    def workers(self) -> list[WorkerState]:
        """The workers as they are now."""
        return [seat.state() for seat in self._seats]

    def links(self) -> list[WorkerLink]:
        """The way to each worker that takes calls."""
        return [seat.link for seat in self._seats if seat.link is not None]

    @property
    def label(self) -> str:
        """What the log calls the model."""
        return self._label

    def replace(self, link: WorkerLink) -> None:
        """Start the successor of a worker that is unhealthy; it serves until that has loaded."""
        for seat in self._seats:
            if seat.link is link and not seat.relieving:
                self._succeed(seat)

    def start(self) -> None:
        """Begin to supervise the workers, on the running event loop. Idempotent."""
        for seat, process in zip(self._seats, self._waiting_to_attach, strict=False):
            self._attach(seat, process)
        self._waiting_to_attach = []

    def run(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,
    ) -> Coroutine[Any, Any, list[Tensor]]:
        """Run the call in a worker (see :class:`~pillion.execution.api.Executor`).

        Raises:
            WorkerDiedError: it ended over the call, and so did a second one where calls may be computed again.
        """
        return self._run(model, inputs, outputs, seconds, retry=self._policy.retry)

    def run_once(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,
    ) -> Coroutine[Any, Any, list[Tensor]]:
        """The same for a call that is not computed again when its worker dies: a batch, of which one request is at
        fault.
        """
        return self._run(model, inputs, outputs, seconds, retry=False)

    async def _run(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,
        *,
        retry: bool,
    ) -> list[Tensor]:
        if self._closed:
            raise RuntimeError(f"the worker processes of {self._label} have been closed")
        if self._waiting_to_attach:
            self.start()
        if self._hopeless():
            raise self._down()
        sent = Sent(model, inputs, outputs, retry=retry)
        self._submit(sent)
        timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, _expire, sent.future)
        try:
            return await sent.future
        finally:
            if timer is not None:
                timer.cancel()
            if sent.link is None:
                self._pending.pop(sent, None)
            elif sent.number in sent.link.outstanding:
                self._give_up(sent, sent.link)

    def close(self) -> None:
        """Let the workers end after the calls that they hold and those that wait now."""
        if not self._closed:
            self._closed = True
            self._end_if_done()

    # --- calls

    def _submit(self, sent: Sent) -> None:
        link = None if self._pending else self._freest()
        if link is None:
            self._pending[sent] = None
        else:
            link.send(sent)

    def _freest(self) -> WorkerLink | None:
        """The worker that holds the fewest calls, unless every one holds what it should."""
        best: WorkerLink | None = None
        least = DEPTH
        for seat in self._seats:
            link = seat.link
            if link is not None and not link.streams:
                count = len(link.outstanding)
                if count < least and (count == 0 or (link.typical is not None and link.typical < QUICK_SECONDS)):
                    best, least = link, count
        return best

    def _pump(self) -> None:
        """Give waiting calls to workers that have room."""
        while self._pending and (link := self._freest()) is not None:
            sent, _ = self._pending.popitem(last=False)
            if not sent.future.done():
                link.send(sent)
        if self._closed:
            self._end_if_done()
            return
        for seat in self._seats:
            if seat.leaving is not None and not seat.leaving.outstanding:
                self._part(seat, seat.leaving)
        if self._policy.lifetime is not None:
            self._relieve(self._policy.lifetime)

    def _give_up(self, sent: Sent, link: WorkerLink) -> None:
        sent.abandoned = True
        sent.inputs = ()
        if link.give_up(sent):
            self._later(self._policy.grace_seconds, lambda: self._kill_if_stuck(sent, link))

    def _kill_if_stuck(self, sent: Sent, link: WorkerLink) -> None:
        if sent.number not in link.outstanding:
            return
        if next(iter(link.outstanding)) != sent.number:  # not begun: it waits behind another call
            self._later(self._policy.grace_seconds, lambda: self._kill_if_stuck(sent, link))
            return
        _log.warning(
            "model %s: worker process %d has computed for %g s for nobody and is ended",
            self._label,
            link.process.pid,
            self._policy.grace_seconds,
        )
        link.process.kill()

    # --- workers

    def _attach(self, seat: Seat, process: WorkerProcess) -> None:
        seat.link = WorkerLink(process, self._pump, lambda link: self._ended(seat, link))
        if self.opening is not None:
            first = Sent(self.opening(), (), (), retry=False, counted=False)
            first.future.add_done_callback(self._opened)
            seat.link.send(first)

    def _opened(self, first: asyncio.Future[list[Tensor]]) -> None:
        error = None if first.cancelled() else first.exception()
        if error is not None:
            _log.error("model %s: a new worker process could not be configured: %s", self._label, error)

    def _ended(self, seat: Seat, link: WorkerLink) -> None:
        """Its calls first, then its successor."""
        serving = link is seat.link
        seat.let_go(link)
        held = list(link.outstanding.values())
        begun = held.pop(0) if held and held[0].written else None
        if begun is not None and begun.asked is not None:
            begun.asked.end()
        for sent in reversed(held):
            if not sent.abandoned:
                self._again(sent)
        if begun is not None and not begun.abandoned:
            begun.deaths += 1
            if begun.retry and begun.deaths < MOST_DEATHS and not begun.answering:
                self._again(begun)
            else:
                begun.fail(WorkerDiedError(self._label, begun.deaths, again=self._policy.retry))
        link.outstanding.clear()
        threading.Thread(target=self._bury, args=(link.process,), name="worker-end", daemon=True).start()
        if serving:
            seat.died(served=link.answered > 0, begun=begun is not None and begun.counted)
        self._pump()
        if serving and not seat.relieving:  # else there is one, or it is on its way
            self._restart(seat)

    def _again(self, sent: Sent) -> None:
        """Before all that wait."""
        sent.link = None
        self._pending[sent] = None
        self._pending.move_to_end(sent, last=False)

    def _bury(self, process: WorkerProcess) -> None:
        process.end(0.2)
        _log.error("model %s: worker process %d %s", self._label, process.pid, process.exit_reason())

    def _restart(self, seat: Seat) -> None:
        if self._hopeless():
            self._fail_pending(self._down)
        if self._closed:
            if all(each.link is None for each in self._seats):
                self._fail_pending(self._gone)
            return
        self._later(restarts.delay(seat.failures), lambda: self._start_thread(seat))

    def _start_thread(self, seat: Seat) -> None:
        loop = asyncio.get_running_loop()

        def body() -> None:
            process: WorkerProcess | None = None
            failure = ""
            try:
                process = self._launch(seat.index)
            except Exception as error:  # noqa: BLE001 - whatever it was, the seat is tried again
                failure = f"{type(error).__name__}: {error}"
            try:
                loop.call_soon_threadsafe(self._launched, seat, process, failure)
            except RuntimeError:  # the loop is closed: the server is ending
                if process is not None:
                    process.end(0)

        if self._closed:  # nobody follows: what waits for a worker is to be told
            if all(each.link is None for each in self._seats):
                self._fail_pending(self._gone)
        else:
            seat.starts += 1
            threading.Thread(target=body, name=f"worker-start-{seat.index}", daemon=True).start()

    def _launched(self, seat: Seat, process: WorkerProcess | None, failure: str) -> None:
        relieving, seat.relieving = seat.relieving, False
        if process is None and relieving and seat.link is not None:
            seat.relieving = True
            self._later(_NEXT_RELIEF, lambda: setattr(seat, "relieving", False))
            _log.error("model %s: worker process %d serves on: %s", self._label, seat.link.process.pid, failure)
        elif process is None:
            seat.died(served=False, begun=False)
            self._last_failure = failure
            _log.error("model %s: no worker process could be started: %s", self._label, failure)
            self._restart(seat)
        elif self._closed and not self._pending:
            process.end_soon()
        else:
            _log.info("model %s: worker process %d has taken over", self._label, process.pid)
            seat.leaving = seat.link
            self._attach(seat, process)
            self._pump()

    def _relieve(self, lifetime: Lifetime) -> None:
        """Start the successor of one that has served long enough, one at a time; it serves until that has loaded."""
        if any(seat.relieving or seat.leaving is not None for seat in self._seats):
            return
        now = asyncio.get_running_loop().time()
        looks = now >= self._next_look  # reading how much memory they hold is not for every call
        if looks:
            self._next_look = now + _LOOK_EVERY
        for seat in self._seats:
            link = seat.link
            if link is None:
                continue
            reason = lifetime.over(link.answered, link.process.rss if looks else _unknown)
            if reason:
                _log.info("model %s: worker process %d %s and is relieved", self._label, link.process.pid, reason)
                self._succeed(seat)
                return

    def _succeed(self, seat: Seat) -> None:
        seat.relieving = True
        seat.recycled += 1
        self._start_thread(seat)

    def _part(self, seat: Seat, link: WorkerLink) -> None:
        """Whatever it holds, nobody waits for."""
        seat.let_go(link)
        link.detach()
        link.process.end_soon()

    def _hopeless(self) -> bool:
        """Whether there is no worker, and starting one has failed again."""
        return all(seat.link is None and seat.stillborn > 1 for seat in self._seats)

    def _fail_pending(self, error: Callable[[], PillionError]) -> None:
        while self._pending:
            sent, _ = self._pending.popitem(last=False)
            sent.fail(error())

    def _gone(self) -> PillionError:
        return PillionError(
            ErrorCode.NOT_READY, f"model {self._label}: its worker processes ended while it was unloaded"
        )

    def _down(self) -> PillionError:
        reason = f": {self._last_failure}" if self._last_failure else ""
        return PillionError(
            ErrorCode.NOT_READY,
            f"model {self._label}: its worker processes end as soon as they are started{reason}",
            remedy="see the server's log",
            retry_after=restarts.delay(min(seat.failures for seat in self._seats)),
        )

    # --- ends

    def _end_if_done(self) -> None:
        if self._pending:
            return
        for seat in self._seats:
            for link in seat.links():
                if all(sent.abandoned for sent in link.outstanding.values()):
                    self._part(seat, link)
        for process in self._waiting_to_attach:
            process.end_soon()
        self._waiting_to_attach = []
        if not any(seat.links() for seat in self._seats):
            for timer in list(self._timers):
                timer.cancel()
            self._timers.clear()

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later, unless the executor has ended by then."""

        def act() -> None:
            self._timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(seconds, act)
        self._timers.add(timer)


def _unknown() -> int:
    return 0


def _expire(future: asyncio.Future[list[Tensor]]) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        future.set_exception(DeadlinePassedError())
