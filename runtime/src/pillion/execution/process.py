"""Calls in worker processes: for code that holds the interpreter's lock, crashes, or must be stoppable.

The event loop writes calls to the workers' sockets and reads their answers; nothing else of the server is involved in
a call. Workers are supervised: one that has died is replaced, and of its calls only the one that it had begun is lost;
those that it had not are given to others. Whoever waits for a call may leave: the call is stopped where it can be, and
a worker that computes on for nobody is killed after a grace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.execution import restarts
from pillion.execution.api import DeadlinePassedError, WorkerState
from pillion.execution.worker_link import Sent, WorkerLink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.backends.api import Predictor
    from pillion.execution.worker_process import WorkerProcess
    from pillion.tensors import Tensor

__all__ = ["DEPTH", "ProcessExecutor", "WorkerPolicy"]

_log = logging.getLogger(__name__)

DEPTH: Final = 8
"""Calls that a worker holds at the same time, one computing and the rest waiting, where each takes well under..."""
QUICK_SECONDS: Final = 2e-3
"""...this: a slower call is given to a worker only when it is free, for the next free one may be another."""


class WorkerPolicy(msgspec.Struct, frozen=True):
    """What to do about calls that went wrong."""

    retry: bool
    """Whether the call that a worker had begun when it died is computed again, once, by another."""
    grace_seconds: float
    """How long a worker may compute on for nobody before it is killed."""


class _Seat:
    """One place for a worker: whoever holds it is replaced when it dies."""

    __slots__ = ("failures", "index", "link", "starts")

    def __init__(self, index: int) -> None:
        self.index = index
        self.link: WorkerLink | None = None
        self.failures = 0
        """Starts in a row that came to nothing."""
        self.starts = 1


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
        self._seats = [_Seat(index) for index in range(len(processes))]
        self._pending: OrderedDict[Sent, None] = OrderedDict()
        self._last_failure = ""
        self._closed = False
        self._timers: set[asyncio.TimerHandle] = set()

    immediate = False

    @property
    def abandoned(self) -> int:
        """Calls given up that a worker has not ended yet."""
        links = [seat.link for seat in self._seats if seat.link is not None]
        return sum(sent.abandoned for link in links for sent in link.outstanding.values())

    def workers(self) -> list[WorkerState]:
        """The workers as they are now."""
        return [
            WorkerState(
                seat.index,
                0 if seat.link is None else seat.link.process.pid,
                seat.link is not None,
                seat.starts,
                0 if seat.link is None else seat.link.process.rss(),
            )
            for seat in self._seats
        ]

    def start(self) -> None:
        """Begin to supervise the workers, on the running event loop. Idempotent."""
        for seat, process in zip(self._seats, self._waiting_to_attach, strict=False):
            self._attach(seat, process)
        self._waiting_to_attach = []

    async def run(
        self,
        model: Predictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        seconds: float | None,
    ) -> list[Tensor]:
        """Run the call in a worker (see :class:`~pillion.execution.api.Executor`)."""
        if self._closed:
            raise RuntimeError(f"the worker processes of {self._label} have been closed")
        if self._waiting_to_attach:
            self.start()
        if self._hopeless():
            raise self._down()
        sent = Sent(model, inputs, outputs)
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
            self._send(sent, link)

    def _send(self, sent: Sent, link: WorkerLink) -> None:
        try:
            link.send(sent)
        except Exception as error:  # noqa: BLE001 - arguments that cannot be serialised, no memory: the call's own
            if not sent.future.done():
                failure = RuntimeError(
                    f"the call cannot be sent to its worker process: {type(error).__name__}: {error}"
                )
                failure.__cause__ = error
                sent.future.set_exception(failure)

    def _freest(self) -> WorkerLink | None:
        """The worker that holds the fewest calls, unless every one holds what it should."""
        best: WorkerLink | None = None
        least = DEPTH
        for seat in self._seats:
            link = seat.link
            if link is not None:
                count = len(link.outstanding)
                if count < least and (count == 0 or (link.typical is not None and link.typical < QUICK_SECONDS)):
                    best, least = link, count
        return best

    def _pump(self) -> None:
        """Give waiting calls to workers that have room."""
        while self._pending and (link := self._freest()) is not None:
            sent, _ = self._pending.popitem(last=False)
            if not sent.future.done():
                self._send(sent, link)
        if self._closed:
            self._end_if_done()

    def _give_up(self, sent: Sent, link: WorkerLink) -> None:
        sent.abandoned = True
        sent.inputs = ()
        link.process.give_up(sent.number)
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

    def _attach(self, seat: _Seat, process: WorkerProcess) -> None:
        seat.link = WorkerLink(process, self._pump, lambda link: self._ended(seat, link))

    def _ended(self, seat: _Seat, link: WorkerLink) -> None:
        """Its calls first, then its successor."""
        seat.link = None
        held = list(link.outstanding.values())
        begun = held[0] if held else None
        for sent in reversed(held[1:]):
            if not sent.abandoned:
                sent.link = None
                self._pending[sent] = None
                self._pending.move_to_end(sent, last=False)
        if begun is not None and not begun.abandoned:
            begun.attempts += 1
            begun.link = None
            if self._policy.retry and begun.attempts < 2:
                self._pending[begun] = None
                self._pending.move_to_end(begun, last=False)
            elif not begun.future.done():
                begun.future.set_exception(self._died(begun))
        link.outstanding.clear()
        seat.failures = 0 if link.answered else seat.failures + 1
        threading.Thread(target=self._bury, args=(link.process,), name="worker-end", daemon=True).start()
        self._pump()
        self._restart(seat)

    def _bury(self, process: WorkerProcess) -> None:
        process.end(0.2)
        _log.error("model %s: worker process %d %s", self._label, process.pid, process.exit_reason())

    def _restart(self, seat: _Seat) -> None:
        if self._hopeless():
            self._fail_pending(self._down)
        if self._closed:
            if all(each.link is None for each in self._seats):
                self._fail_pending(self._gone)
            return
        self._later(restarts.delay(seat.failures), lambda: self._start_thread(seat))

    def _start_thread(self, seat: _Seat) -> None:
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

    def _launched(self, seat: _Seat, process: WorkerProcess | None, failure: str) -> None:
        if process is None:
            seat.failures += 1
            self._last_failure = failure
            _log.error("model %s: no worker process could be started: %s", self._label, failure)
            self._restart(seat)
        elif self._closed and not self._pending:
            process.end_soon()
        else:
            _log.info("model %s: worker process %d has taken over", self._label, process.pid)
            self._attach(seat, process)
            self._pump()

    def _hopeless(self) -> bool:
        """Whether there is no worker, and starting one has failed again."""
        return all(seat.link is None and seat.failures > 1 for seat in self._seats)

    def _fail_pending(self, error: Callable[[], PillionError]) -> None:
        while self._pending:
            sent, _ = self._pending.popitem(last=False)
            if not sent.future.done():
                sent.future.set_exception(error())

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

    def _died(self, sent: Sent) -> PillionError:
        again = " (twice)" if sent.attempts > 1 else ""
        return PillionError(
            ErrorCode.MODEL_FAILED,
            f"model {self._label}: the worker process that computed this request ended{again}",
            remedy="see the server's log; the same request may end the next one, too",
        )

    # --- ends

    def _end_if_done(self) -> None:
        if self._pending:
            return
        for seat in self._seats:
            link = seat.link
            if link is not None and all(sent.abandoned for sent in link.outstanding.values()):
                seat.link = None
                link.detach()
                link.process.end_soon()
        for process in self._waiting_to_attach:
            process.end_soon()
        self._waiting_to_attach = []
        if all(seat.link is None for seat in self._seats):
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


def _expire(future: asyncio.Future[list[Tensor]]) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        future.set_exception(DeadlinePassedError())
