"""The event loop's side of one worker: calls out, answers in, no thread between."""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.execution.frames import descriptors, frame
from pillion.execution.messages import Call, Failed, Record, Result, Use
from pillion.execution.packing import pack, unpack
from pillion.execution.remote import RemoteTask, raised
from pillion.execution.segments import SegmentMap, SegmentPool
from pillion.execution.worker_process import log_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.backends.api import Predictor
    from pillion.execution.messages import FromWorker
    from pillion.execution.worker_process import WorkerProcess
    from pillion.tensors import Tensor

__all__ = ["Sent", "WorkerLink"]

_log = logging.getLogger(__name__)
_WEIGHT: Final = 0.2


class Sent:
    """One call on its way through the workers."""

    __slots__ = ("abandoned", "attempts", "future", "inputs", "link", "model", "number", "outputs")

    def __init__(self, model: Predictor, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> None:
        self.model = model
        self.inputs = inputs
        self.outputs = outputs
        self.future: asyncio.Future[list[Tensor]] = asyncio.get_running_loop().create_future()
        self.link: WorkerLink | None = None
        """Where it is; None while it waits for a worker."""
        self.number = 0
        self.attempts = 0
        """Workers that died over it."""
        self.abandoned = False


class WorkerLink:
    """See the module's docstring. Event loop's thread only.

    Args:
        process: whose model is loaded.
        on_answer: called after one or more answers.
        on_end: called once when the worker has ended.
    """

    def __init__(
        self, process: WorkerProcess, on_answer: Callable[[], None], on_end: Callable[[WorkerLink], None]
    ) -> None:
        self.process = process
        self.outstanding: dict[int, Sent] = {}
        """Calls that have no answer yet, in the order in which the worker takes them."""
        self.typical: float | None = None
        """Smoothed seconds of a call in the model's code."""
        self.answered = 0
        self._on_answer = on_answer
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._numbers = 0
        self._pool = SegmentPool()
        self._released: list[int] = []
        self._mapped = SegmentMap(self._released.append)
        self._encoder = msgspec.msgpack.Encoder()
        self._outgoing = bytearray()
        self._files: list[int] = []
        self._flushing = False
        self._writing = False
        self._attached = True
        process.socket.setblocking(False)
        self._loop.add_reader(process.socket, self._readable)

    def send(self, sent: Sent) -> None:
        """Send the call to the worker.

        Raises:
            Exception: it cannot be sent; nothing of it was.
        """
        self._numbers += 1
        call = Call(self._numbers, sent.outputs)
        model = sent.model
        segment = None
        if isinstance(model, RemoteTask):
            call.task = model.task
            call.arguments = pickle.dumps(model.arguments, protocol=5)
        else:
            call.tensors, segment = pack(sent.inputs, self._pool)
        if segment is not None:
            call.segment = Use(segment.number, 0 if segment.descriptor is None else segment.size)
        call.released = self._handed_back()
        call.dropped = self._pool.dropped
        try:
            self._outgoing += frame(self._encoder.encode(call))
        except BaseException:
            self._released[:0] = call.released
            if segment is not None:
                self._pool.give_back(segment.number)
            raise
        self._pool.dropped = []
        if segment is not None and segment.descriptor is not None:
            self._files.append(segment.descriptor)  # no more than calls are outstanding, which is few
            segment.descriptor = None
        self.outstanding[call.id] = sent
        sent.link, sent.number = self, call.id
        if not self._flushing and not self._writing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _handed_back(self) -> list[int]:
        count = len(self._released)  # another thread may let go of an array meanwhile
        released = self._released[:count]
        del self._released[:count]
        return released

    def detach(self) -> None:
        """Speak to the worker no more."""
        if self._attached:
            self._attached = False
            self._loop.remove_reader(self.process.socket)
            self._loop.remove_writer(self.process.socket)
            for descriptor in (*self._files, *self.process.inbox.descriptors):
                socket.close(descriptor)
            self._files.clear()
            self.process.inbox.descriptors.clear()
            self._pool.close()
            self._mapped.close()

    # --- the socket

    def _flush(self) -> None:
        """Write what has been gathered in this turn of the loop."""
        self._flushing = False
        if not self._attached or not self._outgoing:
            return
        try:
            if self._files:
                count = self.process.socket.sendmsg([self._outgoing], descriptors(self._files))
                for descriptor in self._files:
                    socket.close(descriptor)
                self._files.clear()
            else:
                count = self.process.socket.send(self._outgoing)
        except BlockingIOError:
            count = 0
        except OSError:
            return  # the worker has ended: reading will tell, after its last answers
        del self._outgoing[:count]
        if self._outgoing and not self._writing:
            self._writing = True
            self._loop.add_writer(self.process.socket, self._flush)
        elif self._writing and not self._outgoing:
            self._writing = False
            self._loop.remove_writer(self.process.socket)

    def _readable(self) -> None:
        try:
            try:
                messages = self.process.inbox.receive()
            except BlockingIOError:
                return
            except (EOFError, ConnectionResetError):  # reset: it had not read everything
                self._ended()
                return
            for message in messages:
                self._take(message)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with an answer, those behind it cannot be read either
            _log.error("worker process %d: its connection broke: %s", self.process.pid, error)
            self.process.kill()
            self._ended()
            return
        if messages:
            self._on_answer()

    def _take(self, message: FromWorker) -> None:
        if isinstance(message, Result):
            self._result(message)
        elif isinstance(message, Failed):
            self._failed(message)
        elif isinstance(message, Record):
            log_record(message)

    def _ended(self) -> None:
        self.detach()
        self._on_end(self)

    # --- answers

    def _result(self, message: Result) -> None:
        for number in message.dropped:
            self._mapped.drop(number)
        whole = None
        use = message.segment
        if use is not None:
            if use.size:
                self._mapped.attach(use.number, use.size, self.process.inbox.descriptors.popleft())
            whole = self._mapped.view(use.number)
        sent = self.outstanding.get(message.id)
        if sent is None or sent.future.done():
            self._settled(message)
            return
        seconds = message.seconds
        self.typical = seconds if self.typical is None else self.typical + _WEIGHT * (seconds - self.typical)
        if isinstance(sent.model, RemoteTask):
            sent.model.value = pickle.loads(message.value)  # noqa: S301 - written by our own worker
        tensors = [tensor for tensor in unpack(message.tensors, whole) if tensor is not None]
        self._settled(message)  # only now: a call whose answer cannot be read fails with its worker
        sent.future.set_result(tensors)

    def _failed(self, message: Failed) -> None:
        sent = self._settled(message)
        if sent is not None and not sent.future.done():
            sent.future.set_exception(raised(message))

    def _settled(self, message: Result | Failed) -> Sent | None:
        for number in message.released:
            self._pool.give_back(number)
        self.answered += 1
        return self.outstanding.pop(message.id, None)
