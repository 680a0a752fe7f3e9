"""A process of a job's: started in a session of its own, listened to, stopped step by step, and never left behind.

One thread has it from its start to its end. Told to stop, it is asked (a byte in its control pipe), then its group gets
SIGTERM, then SIGKILL, all within the grace. However its first process ended, what is left of it is killed, of its group
and of whatever sessions it has begun, and what a former server left of it as well.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.jobs.descendants import MARK, kill_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Ending", "JobProcess"]

_ASKED: Final = 0.6
"""Share of the grace that it has to stop by itself."""
_TOLD: Final = 0.9
"""Share of the grace when SIGKILL follows SIGTERM, so that the grace holds it all."""
_READ: Final = 64 * 1024
_WITHOUT_PIDFD: Final = 0.05
"""Seconds between looks at a process whose end the kernel cannot tell of."""


class Ending(msgspec.Struct, frozen=True):
    """How the process ended."""

    status: int
    """Exit status, or minus the number of the signal."""
    stopped: bool
    """Whether it had been told to stop."""


class JobProcess:
    """See the module's docstring.

    Args:
        module: to run.
        identity: of the job, which all that it starts is found by.
        argument: what it is given first.
        environment: all of its variables.
        grace: seconds that it may take to stop.
        output: takes what it prints.
        report: takes each line that it reports.
    """

    def __init__(
        self,
        module: str,
        identity: str,
        argument: str,
        environment: Mapping[str, str],
        grace: float,
        output: Callable[[bytes], None],
        report: Callable[[bytes], None],
    ) -> None:
        self._command = [sys.executable, "-P", "-u", "-m", module, argument]
        self._identity = identity
        self._environment = {**environment, MARK: identity}
        self._grace = grace
        self._output = output
        self._report = report
        self._woken, self._waker = os.pipe()
        self._stop = threading.Event()
        self._pipe = threading.Lock()
        self._partial = b""

    def stop(self) -> None:
        """Have it stopped. Any thread, any number of times."""
        with self._pipe:
            # Once it has ended, the number of its descriptor may be that of somebody else's file.
            if not self._stop.is_set():
                self._stop.set()
                os.write(self._waker, b"s")

    def _close_pipe(self) -> None:
        with self._pipe:
            self._stop.set()
            os.close(self._woken)
            os.close(self._waker)

    def run(self) -> Ending:
        """Start it and stay until nothing of it runs any more.

        Raises:
            OSError: it cannot be started.
        """
        kill_all(self._identity)
        reports, their_reports = os.pipe()
        their_control, control = os.pipe()
        their_lifeline, lifeline = os.pipe()
        passed = (their_reports, their_control, their_lifeline)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module, in the interpreter that runs us
                [*self._command, *map(str, passed)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=passed,
                env=self._environment,
                start_new_session=True,
            )
        except BaseException:
            for descriptor in (reports, control, lifeline, *passed):
                os.close(descriptor)
            self._close_pipe()
            raise
        for descriptor in passed:
            os.close(descriptor)
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe, see above
            stopped = self._attend(process.pid, process.stdout.fileno(), reports, control)
        finally:
            self._kill(process.pid)
            # Not before now: as long as it waits to be reaped, its number and that of its group are nobody else's.
            status = process.wait()
            if process.stdout is not None:
                process.stdout.close()
            for descriptor in (reports, control, lifeline):
                os.close(descriptor)
            self._close_pipe()
        return Ending(status, stopped)

    def _attend(self, pid: int, printed: int, reports: int, control: int) -> bool:
        """Stay until it has ended; whether it had been told to. It is left to be reaped."""
        for descriptor in (printed, reports):
            os.set_blocking(descriptor, False)
        steps = _Steps(pid, control, self._grace, functools.partial(self._kill, pid))
        with selectors.DefaultSelector() as selector, _ending_of(pid) as ended:
            selector.register(printed, selectors.EVENT_READ, self._output)
            selector.register(reports, selectors.EVENT_READ, self._reported)
            selector.register(self._woken, selectors.EVENT_READ, None)
            if ended is not None:
                selector.register(ended, selectors.EVENT_READ, None)
            while not _has_ended(pid):
                wait = steps.due()
                if ended is None:
                    wait = _WITHOUT_PIDFD if wait is None else min(wait, _WITHOUT_PIDFD)
                for key, _ in selector.select(wait):
                    if key.fd == self._woken:
                        os.read(self._woken, 16)
                    elif key.data is not None and _drain(key.fd, key.data) is False:
                        selector.unregister(key.fd)
                if self._stop.is_set():
                    steps.take()
            # Those that it started hold its pipes open; they are killed before the rest is read.
            self._kill(pid)
            for descriptor, take in ((printed, self._output), (reports, self._reported)):
                while _drain(descriptor, take) is True:
                    pass
        return steps.begun

    def _kill(self, pid: int) -> None:
        """All of it: first what is below it, which is not found there any more when it is gone."""
        kill_all(self._identity, pid)
        _kill_group(pid)
        kill_all(self._identity, pid)

    def _reported(self, text: bytes) -> None:
        *lines, self._partial = (self._partial + text).split(b"\n")
        for line in lines:
            self._report(line)


class _Steps:
    """Ask, tell, kill: each at its time."""

    def __init__(self, pid: int, control: int, grace: float, kill: Callable[[], None]) -> None:
        self._kill = kill
        self._pid = pid
        self._control = control
        self._grace = grace
        self._began = 0.0
        self._next = 0

    @property
    def begun(self) -> bool:
        """Whether it was asked."""
        return self._next > 0

    def due(self) -> float | None:
        """Seconds until the next step; None where none is due."""
        if not self.begun or self._next > 2:
            return None
        return max(0.0, self._began + self._grace * (_ASKED, _TOLD)[self._next - 1] - time.monotonic())

    def take(self) -> None:
        """Take the step that is due, if one is."""
        if self._next == 0:
            self._began = time.monotonic()
            with contextlib.suppress(OSError):
                os.write(self._control, b"c")
            self._next = 1
        elif self.due() == 0.0:
            if self._next == 1:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGTERM)
            else:
                self._kill()
            self._next += 1


def _drain(descriptor: int, take: Callable[[bytes], None]) -> bool | None:
    """Read what is there: True for some, None for none yet, False at the end."""
    try:
        text = os.read(descriptor, _READ)
    except BlockingIOError:
        return None
    if text:
        take(text)
    return bool(text)


def _has_ended(pid: int) -> bool:
    """Whether a child has; it is not reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def _ending_of(pid: int) -> Iterator[int | None]:
    """A descriptor that can be read when the process has ended; None where the kernel has none."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
