"""In a worker process: the calls that nobody waits for any more, and how the one that runs is stopped.

The server writes their numbers to a pipe. A thread sleeps on it, so that a call that runs can be stopped at any time.
The main thread looks into it, too, before it begins a call: the thread may not have had its turn yet, and what was
given up before the call in front of it ended must not be begun.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from pillion.execution.api import Interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ABANDON_SIGNAL", "CLOSING_SECONDS", "Abandoned", "GivenUp"]

ABANDON_SIGNAL: Final = signal.SIGRTMIN + 3
"""One that neither libraries nor people have a use for."""
CLOSING_SECONDS: Final = 0.25
"""For a stream to come to its next item, where it is closed as generators are; then its code gets an exception."""
_ID: Final = 8
"""Bytes of a call's number on the pipe."""
_READ: Final = 512 * _ID


class Abandoned(BaseException):
    """Raised inside a call that nobody waits for any more."""


class GivenUp:
    """See the module's docstring. Made in the main thread, which runs the calls.

    Args:
        pipe: what the server writes to.
        busy: whether the main thread is where an exception would do harm; it calls :meth:`check` afterwards.
    """

    def __init__(self, pipe: int, busy: Callable[[], bool]) -> None:
        self._pipe = pipe
        self._busy = busy
        self._lock = threading.Lock()
        self._look = _poll(pipe)
        self._numbers: set[int] = set()
        self._ended = 0
        self._current = 0
        self._closes = False
        self._interrupt = Interrupt()
        self._late: tuple[int, float] | None = None
        """The call that was asked to close, and when it is to be stopped otherwise."""
        self._stop = 0
        """The call that is to be stopped by an exception."""
        self._main = threading.main_thread().ident or 0
        signal.signal(ABANDON_SIGNAL, self.check)
        threading.Thread(target=self._watch, name="abandoned-calls", daemon=True).start()

    def begin(self, call: int, interrupt: Interrupt, *, closes: bool = False) -> None:
        """The call runs from now on.

        Args:
            call: its number.
            interrupt: its way to be stopped, if it has one.
            closes: whether it is a stream, which may end of its own accord a little later.

        Raises:
            Abandoned: it was given up before.
        """
        with self._lock:  # while it is held another call may be about to be stopped, which must not meet this one
            self._drain()
            if call in self._numbers:
                raise Abandoned
            self._interrupt = interrupt
            self._closes = closes
            self._current = call

    def end(self) -> None:
        """No call runs any more: from here on nothing is raised."""
        self._current = 0

    def closing(self) -> None:
        """The stream that runs has begun to close, and may take its time: nothing is raised in its ``finally``."""
        with self._lock:
            self._late = None
            self._stop = 0

    def forget(self, call: int) -> None:
        """That call is answered, and so are all with lower numbers."""
        self._ended = call
        if self._numbers:
            with self._lock:
                self._numbers = {number for number in self._numbers if number > call}

    def check(self, *_: object) -> None:
        """Raise where the call that runs is to be stopped, unless that would do harm now: the handler of the signal.

        Raises:
            Abandoned: in the main thread, between two of its steps.
        """
        if self._current and self._current == self._stop and not self._busy():
            self._current = 0
            raise Abandoned

    def _watch(self) -> None:
        sleep = _poll(self._pipe)
        more = True
        while more:
            late = self._late
            sleep.poll(None if late is None else max(0.0, late[1] - time.monotonic()) * 1e3)
            with self._lock:
                more = self._drain()
                late = self._late
                if late is not None and late[1] <= time.monotonic():
                    self._late = None
                    if late[0] == self._current:
                        self._raise(late[0])

    def _drain(self) -> bool:
        """Take note of what has come; False when no more can come. With the lock, so that it does not block."""
        if not self._look.poll(0):
            return True
        data = os.read(self._pipe, _READ)
        for start in range(0, len(data), _ID):
            self._note(int.from_bytes(data[start : start + _ID], "little"))
        return bool(data)

    def _note(self, call: int) -> None:
        if call <= self._ended:
            return
        self._numbers.add(call)
        if call != self._current:
            return
        if self._interrupt.action is None:
            self._interrupt.fired = True
            self._raise(call)
            return
        self._interrupt.fire()
        if self._closes:
            self._late = (call, time.monotonic() + CLOSING_SECONDS)

    def _raise(self, call: int) -> None:
        self._stop = call
        signal.pthread_kill(self._main, ABANDON_SIGNAL)


def _poll(descriptor: int) -> select.poll:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return poll
