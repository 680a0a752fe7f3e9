"""One worker process as the server sees it: started, spoken to, ended."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.execution.exits import exit_reason
from pillion.execution.frames import Inbox, frame
from pillion.execution.messages import FROM_WORKER, Load, Ready, Record, Unable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.execution.messages import FromWorker

__all__ = ["LoadRefused", "WorkerEnded", "WorkerProcess", "log_record"]

_log = logging.getLogger(__name__)
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_ENDING_SECONDS: Final = 3.0
"""For a worker to end by itself when it is told to."""


class WorkerEnded(Exception):  # noqa: N818 - says what happened, as EOFError's relatives do
    """A worker process ended before it had said that its model is loaded."""


class WorkerProcess:
    """A clean interpreter that runs ``module``, never a fork of the server.

    Three descriptors connect it: the socket; a pipe with the numbers of calls that are given up; and its lifeline, a
    pipe that nobody ever writes to. When the server is gone, however it went, the kernel closes the lifeline and kills
    the worker (:func:`hold_lifeline`).

    Args:
        module: to run with the two descriptors' and the lifeline's numbers.
        environment: all of its variables.
    """

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        if not sys.executable:
            raise WorkerEnded("this program does not know its Python interpreter, so it cannot start another")
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            # Whatever cannot be opened (too many files, no memory), nothing of the rest may be left.
            self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            ours.enter_context(self.socket)
            theirs.enter_context(other)
            abandoned, self._abandoned = _pipe(theirs, ours)
            lifeline, self._lifeline = _pipe(theirs, ours)
            os.set_blocking(self._abandoned, False)
            passed = (other.fileno(), abandoned, lifeline)
            self._process = subprocess.Popen(  # noqa: S603 - our own module, in the interpreter that runs us
                # -P: a file of the user's in the current folder must not stand in for a library.
                [sys.executable, "-P", "-m", module, *map(str, passed)],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                env=dict(environment),
                process_group=0,  # Ctrl-C is for the server, which drains first
            )
            self._open = ours.pop_all()
        self.pid = self._process.pid
        self._killed = False
        self.inbox: Inbox[FromWorker] = Inbox(self.socket, FROM_WORKER)

    def load(self, order: bytes) -> bytes:
        """Have the model loaded; what the worker says of it. Blocks.

        Raises:
            WorkerEnded: it died over that.
            LoadRefused: the model cannot be loaded.
        """
        try:
            self.socket.sendall(frame(msgspec.msgpack.encode(Load(order))))
            while True:
                for message in self.inbox.receive():
                    if isinstance(message, Ready):
                        return message.description
                    if isinstance(message, Unable):
                        raise LoadRefused(message)
                    if isinstance(message, Record):
                        log_record(message)
        except (EOFError, OSError):
            self.end(0)
            raise WorkerEnded(f"the worker process {self.exit_reason()} while it loaded the model") from None

    def rss(self) -> int:
        """Resident memory in bytes; 0 when it has ended."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def give_up(self, call: int) -> None:
        """Tell the worker that nobody waits for that call."""
        with contextlib.suppress(OSError):  # it has ended, or has not read thousands of them: then it will be killed
            os.write(self._abandoned, call.to_bytes(8, "little"))

    def __del__(self) -> None:
        """A worker that nobody holds is not left running: with its lifeline it ends."""
        if hasattr(self, "_open"):
            self._close_descriptors()

    def kill(self) -> None:
        """SIGKILL."""
        self._killed = True
        self._process.kill()

    def end(self, seconds: float = _ENDING_SECONDS) -> None:
        """Tell it to end when it has answered what it holds, kill it after ``seconds``, and reap it. Blocks."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close_descriptors()

    def end_soon(self) -> None:
        """The same without waiting: in a thread that does not keep the program alive."""
        threading.Thread(target=self.end, name=f"worker-{self.pid}-end", daemon=True).start()

    def exit_reason(self) -> str:
        """How it ended, as the end of a sentence."""
        code = self._process.returncode
        return "was killed by the server" if self._killed and code is not None and code < 0 else exit_reason(code)

    def _close_descriptors(self) -> None:
        self._abandoned = -1  # the number may be another file's soon
        self._open.close()


def _pipe(reads: contextlib.ExitStack, writes: contextlib.ExitStack) -> tuple[int, int]:
    """Both ends, each closed with its stack."""
    ends = os.pipe()
    for stack, end in zip((reads, writes), ends, strict=True):
        stack.callback(os.close, end)
    return ends


class LoadRefused(Exception):  # noqa: N818 - carries a message of the worker's
    """The worker could not load the model."""

    def __init__(self, message: Unable) -> None:
        super().__init__(message.message)
        self.unable = message


def log_record(message: Record) -> None:
    """Write a worker's line to the server's log."""
    logger = logging.getLogger(message.logger)
    if logger.isEnabledFor(message.level):
        logger.log(message.level, "%s", message.text)
