"""One front worker as its supervisor sees it: started, asked, ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from pillion.execution.exits import exit_reason
from pillion.server.front.channel import Channel
from pillion.server.front.messages import (
    FROM_WORKER,
    Ask,
    AskStop,
    Attached,
    Drain,
    Drained,
    Failed,
    FromWorker,
    Last,
    Settled,
    View,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.server.front.families import Family
    from pillion.server.front.messages import Begin

__all__ = ["FrontProcess"]

T = TypeVar("T")

_ANSWER_SECONDS: Final = 1.0
"""For a worker to answer what it is asked; one that is busy for longer is not waited for."""
_BEAT_SECONDS: Final = 5.0
_BEATS_MISSED: Final = 6
"""About as long as the kubelet lets a liveness probe fail: a worker whose event loop is stuck is ended."""


class FrontProcess:
    """A clean interpreter that runs a whole server, but for its ports. Event loop's thread only.

    Three descriptors connect it: a socket; its lifeline, a pipe that nobody ever writes to and whose end is that of the
    worker (:mod:`pillion.execution.lifeline`); and the listening socket of HTTP.

    Args:
        begin: what it is to know.
        on_change: called when it has settled.
        on_stop: called when its application asks for the end of the whole server.
    """

    def __init__(self, begin: Begin, on_change: Callable[[], None], on_stop: Callable[[], None] | None = None) -> None:
        self.begin = begin
        self.pid = 0
        self.attached = False
        self.settled: Settled | None = None
        self.failed: Failed | None = None
        self.families: list[Family] = []
        """What it had counted when it was last asked."""
        self.ending = ""
        """Why it was told to end; empty where it was not."""
        self._on_change = on_change
        self._on_stop = on_stop
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[View]] = {}
        self._drains: dict[int, asyncio.Future[None]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel[FromWorker] | None = None
        self._lifeline = -1
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, module: str, environment: Mapping[str, str], http: socket.socket) -> None:
        """Start ``module`` (see :mod:`pillion.server.front.worker`).

        Raises:
            OSError: no process can be started.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        lifeline, self._lifeline = os.pipe()
        passed = (theirs.fileno(), lifeline, http.fileno())
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a file of the user's in the current folder must not stand in for a library
                "-m",
                module,
                *map(str, passed),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=passed,
                env=dict(environment),
                process_group=0,  # Ctrl-C is for the supervisor, which tells the workers
            )
        except BaseException:
            ours.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self.pid = self._process.pid
        ours.setblocking(False)
        channel = Channel(ours, FROM_WORKER)
        await channel.open()
        channel.send(self.begin)
        self._channel = channel
        self._tasks = [asyncio.create_task(self._listen(channel)), asyncio.create_task(self._beat())]
        if self.ending:  # it was told so while it was being started
            self._signal(signal.SIGTERM)

    async def ended(self) -> str:
        """Wait for its end; how it came, as the end of a sentence."""
        if self._process is None:
            return "was not started"
        await self._process.wait()
        listening, beating = self._tasks
        beating.cancel()
        await asyncio.wait((listening,), timeout=_ANSWER_SECONDS)  # its last message may still be on the way
        listening.cancel()
        await asyncio.wait((listening,))
        if self._channel is not None:
            await self._channel.close()
        os.close(self._lifeline)
        if self.failed is not None:
            return f"cannot start: {self.failed.message}"
        return f"{exit_reason(self._process.returncode)}{f' ({self.ending})' if self.ending else ''}"

    async def ask(self, *, families: bool = False, live: bool = False) -> View | None:
        """What it says of itself; None where it does not answer in time."""
        if not self.attached or self._channel is None:
            return None
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self._channel.send(Ask(id=number, families=families, live=live))
        await asyncio.wait((future,), timeout=_ANSWER_SECONDS)
        self._asked.pop(number, None)
        return future.result() if future.done() and not future.cancelled() else None

    async def drain(self, deletion: bool) -> None:  # noqa: FBT001 - the control protocol's own field
        """Have it drain; returns when that has ended, or the worker has."""
        if self._channel is None:
            return
        number = next(self._numbers)
        future = self._drains[number] = asyncio.get_running_loop().create_future()
        self._channel.send(Drain(id=number, deletion=deletion))
        # One whose channel has ended answers no more, though its process may still be there.
        await asyncio.wait((future, self._tasks[0]), return_when=asyncio.FIRST_COMPLETED)

    def end(self, why: str = "") -> None:
        """Tell it to end what it does and itself; asked again, at once."""
        self.ending = self.ending or why
        self._signal(signal.SIGTERM)

    def cut(self) -> None:
        """Tell it to cut what it still does, after :meth:`end`: by another signal, for two of one may come as one."""
        self._signal(signal.SIGINT)

    def kill(self, why: str = "") -> None:
        """End it now."""
        self.ending = self.ending or why
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _listen(self, channel: Channel[FromWorker]) -> None:
        try:
            async for message in channel.messages():
                self._take(message)
        except msgspec.DecodeError as error:
            self.kill(f"what it says cannot be read: {error}")
        finally:
            for asked in self._asked.values():
                asked.cancel()
            for drained in self._drains.values():
                drained.cancel()

    def _take(self, message: FromWorker) -> None:
        match message:
            case View():
                if message.families is not None:
                    self.families = message.families
                _resolve(self._asked.pop(message.id, None), message)
            case Last():
                self.families = message.families
            case Settled():
                self.settled = message
                self._on_change()
            case Failed():
                self.failed = message
            case Attached():
                self.attached = True
            case Drained():
                _resolve(self._drains.pop(message.id, None), None)
            case AskStop():
                if self._on_stop is not None:
                    self._on_stop()

    async def _beat(self) -> None:
        """End a worker whose event loop does not turn any more; while models load, native code may hold it up."""
        missed = 0
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            answered = self.settled is None or await self.ask() is not None
            missed = 0 if answered else missed + 1
            if missed >= _BEATS_MISSED:
                seconds = round(_BEATS_MISSED * (_BEAT_SECONDS + _ANSWER_SECONDS))
                self.kill(f"it has not answered for {seconds} s")
                return


def _resolve(future: asyncio.Future[T] | None, value: T) -> None:
    if future is not None and not future.done():
        future.set_result(value)
