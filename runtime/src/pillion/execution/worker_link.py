"""The event loop's side of one worker: calls out, answers in.

No thread is between, but for large tensors, which a thread copies into shared memory. Calls reach the worker in the
order in which they were sent, so those behind a copy wait for it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
import socket
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.execution.frames import descriptors, frame
from pillion.execution.messages import (
    EXPLAIN,
    STREAM,
    TASK,
    Answered,
    Ask,
    Call,
    Credit,
    Failed,
    Item,
    Record,
    Result,
    Unasked,
    Use,
)
from pillion.execution.packing import Layout, filled, unpack
from pillion.execution.remote import RemoteExplanation, RemoteRun, RemoteStream, RemoteTask, failed, raised
from pillion.execution.segments import Segment, SegmentMap, SegmentPool
from pillion.execution.stream import ItemBuffer, StreamRun
from pillion.execution.values import read_value
from pillion.execution.worker_process import log_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.execution.messages import FromWorker
    from pillion.execution.sent import Sent
    from pillion.execution.worker_process import WorkerProcess

__all__ = ["COPIED_ON_LOOP", "WorkerLink"]

_log = logging.getLogger(__name__)
_WEIGHT: Final = 0.2
COPIED_ON_LOOP: Final = 1 << 20
"""Bytes of a call's large tensors up to which copying them takes no longer than the hop to a thread and back."""
_COPIERS: Final = 2
"""Threads that copy: more would only share the memory's bandwidth."""


class _Parcel:
    """A call that is not on the wire yet: its tensors are being copied, or those of one in front of it."""

    __slots__ = ("call", "ready", "segment", "sent")

    def __init__(self, call: Call, sent: Sent, segment: Segment | None, *, ready: bool) -> None:
        self.call = call
        self.sent = sent
        self.segment = segment
        self.ready = ready


class WorkerLink:
    """See the module's docstring. Event loop's thread only.

    Args:
        process: whose model is loaded.
        on_room: called when it may hold fewer calls than before.
        on_end: called once when the worker has ended.
    """

    def __init__(
        self, process: WorkerProcess, on_room: Callable[[], None], on_end: Callable[[WorkerLink], None]
    ) -> None:
        self.process = process
        self.outstanding: dict[int, Sent] = {}
        """Calls that have no answer yet, in the order in which the worker takes them."""
        self.streams = 0
        """How many of them stream: those behind one would wait for as long as its reader likes."""
        self.typical: float | None = None
        """Smoothed seconds of a call in the model's code."""
        self.answered = 0
        """Calls of requests."""
        self._on_room = on_room
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._numbers = 0
        self._pool = SegmentPool()
        self._released: list[int] = []
        self._mapped = SegmentMap(self._released.append)
        self._encoder = msgspec.msgpack.Encoder()
        self._parcels: deque[_Parcel] = deque()
        self._outgoing = bytearray()
        self._files: list[int] = []
        self._flushing = False
        self._writing = False
        self._attached = True
        process.socket.setblocking(False)
        self._loop.add_reader(process.socket, self._readable)

    # --- calls

    def send(self, sent: Sent) -> None:
        """Send the call to the worker, now or when its tensors are copied; it is told if it cannot be sent."""
        self._numbers += 1
        call = Call(self._numbers, sent.outputs)
        if sent.asked is not None:
            call.circumstances = sent.asked.circumstances
        try:
            layout = self._composed(call, sent)
            segment = None
            if layout is not None and layout.size:
                if layout.size > COPIED_ON_LOOP:
                    self._hold(sent, call.id)
                    self._copy(_Parcel(call, sent, self._pool.reused(layout.size), ready=False), layout)
                    return
                segment = filled(layout, self._pool)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the arguments
            self._drop(call.id)
            sent.cannot_be_sent(error)
            return
        self._hold(sent, call.id)
        if self._parcels:
            self._parcels.append(_Parcel(call, sent, segment, ready=True))
        else:
            self._write(call, sent, segment)

    def give_up(self, sent: Sent) -> bool:
        """Nobody waits for that call any more; whether the worker has been told, and will answer it."""
        if sent.number not in self.outstanding:
            return False
        if not sent.written:
            self._drop(sent.number)
            self._loop.call_soon(self._on_room)
            return False
        self.process.give_up(sent.number)
        return True

    def _composed(self, call: Call, sent: Sent) -> Layout | None:
        """Fill in what the call says; its tensors, where it has any."""
        model = sent.model
        if isinstance(model, RemoteTask):
            call.way = TASK
            call.task, call.arguments = model.task, pickle.dumps(model.arguments, protocol=5)
            return None
        if isinstance(model, StreamRun):
            self._compose_stream(call, sent, model)
            return None
        if isinstance(model, RemoteExplanation):
            call.way = EXPLAIN
        layout = Layout(sent.inputs)
        call.tensors = layout.packed
        return layout

    def _compose_stream(self, call: Call, sent: Sent, stream: StreamRun) -> None:
        source, buffer = stream.source, stream.buffer
        if not (isinstance(source, RemoteStream) and isinstance(buffer, ItemBuffer)):
            raise TypeError(f"{type(source).__name__} is no stream of a worker process")
        call.way = STREAM
        call.task, call.arguments = source.task, pickle.dumps(source.arguments, protocol=5)
        call.room = buffer.most
        buffer.on_taken = _Crediting(self, sent, max(1, buffer.most // 2))

    def _hold(self, sent: Sent, number: int) -> None:
        self.outstanding[number] = sent
        self.streams += sent.streams
        sent.link, sent.number, sent.written = self, number, False

    def _drop(self, number: int) -> Sent | None:
        sent = self.outstanding.pop(number, None)
        if sent is not None:
            self.streams -= sent.streams
        return sent

    # --- tensors that a thread copies

    def _copy(self, parcel: _Parcel, layout: Layout) -> None:
        self._parcels.append(parcel)
        number = self._pool.number() if parcel.segment is None else 0
        copying = self._loop.run_in_executor(_copiers(), _filled, layout, parcel.segment, number)
        copying.add_done_callback(functools.partial(self._copied, parcel))

    def _copied(self, parcel: _Parcel, copying: asyncio.Future[Segment]) -> None:
        if copying.cancelled():
            return  # the loop is ending
        error = copying.exception()
        if error is None:
            segment = copying.result()
            if not self._attached:
                segment.close()
                return
            if parcel.segment is None:
                self._pool.adopt(segment)
                parcel.segment = segment
        elif self._drop(parcel.call.id) is not None:
            parcel.sent.cannot_be_sent(error if isinstance(error, Exception) else RuntimeError(str(error)))
        parcel.ready = True
        room = error is not None
        while self._parcels and self._parcels[0].ready:
            first = self._parcels.popleft()
            if first.call.id in self.outstanding:
                self._write(first.call, first.sent, first.segment)
            elif first.segment is not None:  # it was given up, or could not be copied
                self._pool.give_back(first.segment.number)
        if room:
            self._on_room()

    # --- the socket

    def _write(self, call: Call, sent: Sent, segment: Segment | None) -> None:
        if segment is not None:
            call.segment = Use(segment.number, 0 if segment.descriptor is None else segment.size)
        call.released = self._handed_back()
        call.dropped = self._pool.dropped
        try:
            data = frame(self._encoder.encode(call))
        except Exception as error:  # noqa: BLE001 - as when it is sent
            self._released[:0] = call.released
            if segment is not None:
                self._pool.give_back(segment.number)
            self._drop(call.id)
            sent.cannot_be_sent(error)
            return
        self._pool.dropped = []
        if segment is not None and segment.descriptor is not None:
            self._files.append(segment.descriptor)  # no more than calls are outstanding, which is few
            segment.descriptor = None
        sent.written = True
        self._put_out(data)

    def credit(self, number: int, room: int) -> None:
        """Tell the worker that the reader of its stream has taken items."""
        if self._attached:
            self._put_out(frame(self._encoder.encode(Credit(number, room))))

    def _put_out(self, data: bytes) -> None:
        self._outgoing += data
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
            self._parcels.clear()
            self._pool.close()
            self._mapped.close()

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
            self._on_room()

    def _take(self, message: FromWorker) -> None:
        if isinstance(message, Result):
            self._result(message)
        elif isinstance(message, Item):
            self._item(message)
        elif isinstance(message, Failed):
            self._failed(message)
        elif isinstance(message, Record):
            log_record(message)
        elif isinstance(message, Ask):
            self._ask(message)
        elif isinstance(message, Unasked):
            self._unask(message)

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
        if sent.counted and not sent.streams:
            seconds = message.seconds
            self.typical = seconds if self.typical is None else self.typical + _WEIGHT * (seconds - self.typical)
        if isinstance(sent.model, RemoteRun):
            try:
                sent.model.value = read_value(message.value, "the result of a worker process")
            except RuntimeError as error:
                self._settled(message)
                sent.fail(error)
                return
        tensors = [tensor for tensor in unpack(message.tensors, whole) if tensor is not None]
        self._settled(message)  # only now: a call whose answer cannot be read fails with its worker
        sent.future.set_result(tensors)

    def _item(self, message: Item) -> None:
        sent = self.outstanding.get(message.id)
        if sent is not None and not sent.future.done():
            sent.answering = True
            stream: Any = sent.model
            stream.buffer.add(read_value(message.value, "an item of a worker process"))

    def _ask(self, ask: Ask) -> None:
        sent = self.outstanding.get(ask.id)
        if sent is not None and sent.asked is not None and not sent.future.done():
            sent.asked.begin(ask, self._answered)

    def _unask(self, message: Unasked) -> None:
        sent = self.outstanding.get(message.id)
        if sent is not None and sent.asked is not None:
            sent.asked.forget(message.number)

    def _answered(self, answer: Answered) -> None:
        if not self._attached:
            return
        try:
            data = frame(self._encoder.encode(answer))
        except Exception as error:  # noqa: BLE001 - too large, for one: who asked is told
            data = frame(self._encoder.encode(Answered(answer.number, failure=failed(0, error, []))))
        self._put_out(data)

    def _failed(self, message: Failed) -> None:
        sent = self._settled(message)
        if sent is not None:
            sent.fail(raised(message))

    def _settled(self, message: Result | Failed) -> Sent | None:
        for number in message.released:
            self._pool.give_back(number)
        sent = self._drop(message.id)
        if sent is None or sent.counted:
            self.answered += 1
        return sent


class _Crediting:
    """Tells the worker of the room that a stream's reader makes, half a buffer at a time."""

    __slots__ = ("_least", "_link", "_sent", "_taken")

    def __init__(self, link: WorkerLink, sent: Sent, least: int) -> None:
        self._link = link
        self._sent = sent
        self._least = least
        self._taken = 0

    def __call__(self, count: int) -> None:
        self._taken += count
        if self._taken >= self._least and self._sent.number in self._link.outstanding:
            self._link.credit(self._sent.number, self._taken)
            self._taken = 0


def _filled(layout: Layout, segment: Segment | None, number: int) -> Segment:
    """In a thread: the tensors in the segment, or in a new one of that number."""
    if segment is not None:
        layout.fill(segment)
        return segment
    made = Segment(number, layout.size, at_once=False)
    try:
        layout.write(made)
    except BaseException:
        made.close()
        raise
    return made


@functools.cache
def _copiers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_COPIERS, "tensor-copy")
