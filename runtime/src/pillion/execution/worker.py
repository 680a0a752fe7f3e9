"""The loop of a worker process: one call after another, each answered before the next is begun.

So a server whose worker has died knows that at most the oldest unanswered call had been begun.

Calls are computed by the main thread, which also reads the socket: there is no hop between threads. A second thread
only sleeps on a pipe until the server gives a call up. It asks the model's library to stop where that can be asked,
and else raises :class:`Abandoned` in the main thread, as Ctrl-C would: Python code and waiting stop at once, native
code when it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from pillion.execution.api import Interrupt
from pillion.execution.frames import Inbox, descriptors, frame
from pillion.execution.messages import TO_WORKER, Call, Result, Use
from pillion.execution.packing import pack, unpack
from pillion.execution.remote import failed
from pillion.execution.segments import SegmentMap, SegmentPool

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from pillion.backends.api import LoadedModel, Predictor, TaskModel
    from pillion.execution.messages import FromWorker, Record
    from pillion.execution.mixed import AsyncPredictor
    from pillion.execution.segments import Segment
    from pillion.tensors import Tensor

__all__ = ["ABANDON_SIGNAL", "Abandoned", "Connection", "Worker"]

ABANDON_SIGNAL: Final = signal.SIGRTMIN + 3
"""One that neither libraries nor people have a use for."""
_ID: Final = 8
"""Bytes of a call's number on the pipe of those that are given up."""


class Abandoned(BaseException):
    """Raised inside a call that nobody waits for any more."""


class Connection:
    """The worker's end of the socket. Any thread may send."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.inbox = Inbox(connection, TO_WORKER)
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()
        self._main = threading.main_thread().ident
        self.logging = False
        """Whether the main thread is sending a line of the log: half of one must not stay on the wire."""
        self.on_logged: Callable[[], None] = lambda: None
        """Called in the main thread after each line."""

    def send(self, message: FromWorker, files: list[int] | None = None) -> None:
        """Send all of a message, with descriptors."""
        data = frame(self._encoder.encode(message))
        with self._lock:
            sent = self._socket.sendmsg([data], descriptors(files)) if files else self._socket.send(data)
            if sent < len(data):
                self._socket.sendall(memoryview(data)[sent:])

    def log(self, record: Record) -> None:
        """Send a line for the server's log; lost when the server is gone."""
        if threading.get_ident() != self._main:
            with contextlib.suppress(OSError):
                self.send(record)
            return
        self.logging = True
        try:
            with contextlib.suppress(OSError):
                self.send(record)
        finally:
            self.logging = False
        self.on_logged()


class Worker:
    """Answers the calls that come over ``connection`` with ``model``, in the main thread."""

    def __init__(self, connection: Connection, model: LoadedModel, abandoned: int) -> None:
        self._connection = connection
        self._model = model
        self._pool = SegmentPool()
        self._released: list[int] = []
        # Writable, because a class of the user's is given arrays that it may write to: read-only ones would be copied.
        self._mapped = SegmentMap(self._released.append, writable=True)
        self._current = 0
        self._interrupt = Interrupt()
        self._skipped: set[int] = set()
        self._ended = 0
        self._loop: asyncio.Runner | None = None
        connection.on_logged = self._abandon
        signal.signal(ABANDON_SIGNAL, self._abandon)
        threading.Thread(target=self._watch, args=(abandoned,), name="abandoned-calls", daemon=True).start()

    def serve(self) -> None:
        """Answer until the server closes the connection."""
        inbox = self._connection.inbox
        with contextlib.suppress(EOFError):
            while True:
                for message in inbox.receive():
                    if isinstance(message, Call):
                        self._answer(message)
        if self._loop is not None:
            self._loop.close()

    def _answer(self, call: Call) -> None:
        began = time.perf_counter()
        try:
            self._take_notice(call)
            value, tensors = self._run(call)
            seconds = time.perf_counter() - began
            result, segment = self._result(call, value, tensors, seconds)
        except Abandoned:
            result, segment = Result(call.id, 0.0), None
        except BaseException as error:  # noqa: BLE001 - a model may raise anything, sys.exit() too; it belongs to its caller
            self._connection.send(failed(call.id, error, self._handed_back()))
            return
        self._ended = call.id  # before it is forgotten: `_watch` does both the other way round
        self._skipped.discard(call.id)
        tensors = []  # what looks at the request's memory is to be gone before the answer says what is
        result.released = self._handed_back()
        if segment is None or segment.descriptor is None:
            self._connection.send(result)
        else:
            self._connection.send(result, [segment.descriptor])
            segment.announced()

    def _take_notice(self, call: Call) -> None:
        for number in call.released:
            self._pool.give_back(number)
        for number in call.dropped:
            self._mapped.drop(number)
        if call.segment is not None and call.segment.size:
            self._mapped.attach(call.segment.number, call.segment.size, self._connection.inbox.descriptors.popleft())

    def _handed_back(self) -> list[int]:
        """Segments of the server that nothing here looks at any more, said once."""
        count = len(self._released)  # a thread of the model's may add one meanwhile
        released = self._released[:count]
        del self._released[:count]
        return released

    def _run(self, call: Call) -> tuple[Any, list[Tensor]]:
        """The value of a task, or the tensors."""
        whole = None if call.segment is None else self._mapped.view(call.segment.number)
        inputs = unpack(call.tensors, whole)
        del whole
        interrupt = self._interrupt = Interrupt()
        try:
            self._current = call.id  # before looking whether it was given up: `_watch` does both the other way round
            if call.id in self._skipped:
                raise Abandoned
            if not call.task:
                return None, self._compute(self._model, inputs, call.outputs, interrupt)
            model = cast("TaskModel", self._model)
            run = model.begin(model.tasks[call.task], pickle.loads(call.arguments))  # noqa: S301 - written by the server
            self._compute(run, (), (), interrupt)
            return run.value, []
        finally:
            self._current = 0  # here, so that whoever calls this is never interrupted

    def _compute(
        self, model: Predictor, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt
    ) -> list[Tensor]:
        if not getattr(model, "asynchronous", False):
            return model.predict(inputs, outputs, interrupt)
        if self._loop is None:
            self._loop = asyncio.Runner()
        return self._loop.run(_cancellable(cast("AsyncPredictor", model), inputs, outputs, interrupt))

    def _result(
        self,
        call: Call,
        value: Any,  # noqa: ANN401 - plain data, as a task gives it
        tensors: list[Tensor],
        seconds: float,
    ) -> tuple[Result, Segment | None]:
        if call.task:
            return Result(call.id, seconds, value=pickle.dumps(value, protocol=5)), None
        try:
            packed, segment = pack(tensors, self._pool)
        except TypeError as error:  # as it is, it would be taken for one about the input
            raise RuntimeError(f"the model's outputs are not what they say: {error}") from error
        result = Result(call.id, seconds, packed)
        if segment is not None:
            result.segment = Use(segment.number, 0 if segment.descriptor is None else segment.size)
        if self._pool.dropped:
            result.dropped, self._pool.dropped = self._pool.dropped, []
        return result, segment

    def _watch(self, abandoned: int) -> None:
        """Wait for calls that are given up, in a thread of its own."""
        main = threading.main_thread().ident or 0
        while len(number := os.read(abandoned, _ID)) == _ID:
            call = int.from_bytes(number, "little")
            self._skipped.add(call)
            if call <= self._ended:
                self._skipped.discard(call)
            interrupt = self._interrupt  # before looking which call runs: never that of a later one
            if self._current != call:
                continue
            if interrupt.action is not None:
                interrupt.fire()
            else:
                interrupt.fired = True
                signal.pthread_kill(main, ABANDON_SIGNAL)

    def _abandon(self, *_: object) -> None:
        """Handle the signal: in the main thread, between two of its steps; put off while it sends to the log."""
        if self._current in self._skipped and not self._connection.logging:
            self._current = 0
            raise Abandoned


async def _cancellable(
    model: AsyncPredictor, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt
) -> list[Tensor]:
    task = asyncio.ensure_future(model.predict_async(inputs, outputs))
    loop = asyncio.get_running_loop()
    interrupt.action = lambda: cast("None", loop.call_soon_threadsafe(task.cancel))
    if interrupt.fired:
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        if interrupt.fired:
            raise Abandoned from None
        raise RuntimeError("the model's code cancelled itself") from None
